"""Addresses for embedding: ``path("resonate", include("durable.gateway.urls"))``.

Without a slash at the end of the prefix: some clients post to it with one, some without.
"""

from django.urls import re_path

from durable.gateway import views

app_name = "durable_gateway"

urlpatterns = [
    re_path(r"^/?$", views.protocol, name="protocol"),
    re_path(r"^/?health$", views.health, name="health"),
    re_path(r"^/?ready$", views.ready, name="ready"),
    re_path(r"^/?(?:promises|tasks|schedules)(?:/.*)?$", views.retired, name="retired"),
]
