"""``path("", include("durable.observability.urls"))``."""

from django.urls import path

from durable.observability import views

app_name = "durable_observability"

urlpatterns = [path("metrics", views.metrics_page, name="metrics")]
