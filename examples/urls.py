"""Addresses of the demo."""

from django.urls import path

from examples import views

app_name = "examples"
urlpatterns = [path("demo/orders", views.orders, name="orders")]
