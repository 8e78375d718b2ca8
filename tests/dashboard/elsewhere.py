"""Addresses of a project with a way in and out that is none of Django's."""

from django.urls import include, path

urlpatterns = [path("pages/", include("dashboard.urls"))]
