"""A project that embeds the gateway at its root, and again below a prefix."""

from django.urls import include, path

urlpatterns = [
    path("", include("durable.gateway.urls")),
    path("resonate", include("durable.gateway.urls", namespace="below")),
]
