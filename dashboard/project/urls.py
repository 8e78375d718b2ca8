"""Addresses of the project: the dashboard, sign-in and Django's admin."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

urlpatterns = [
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("", include("durable.observability.urls")),
    path("api/", include("dashboard.api.urls")),
    path("", include("dashboard.urls")),
]

if settings.SIGNOFF_DEMO:
    urlpatterns.append(path("", include("examples.urls")))
