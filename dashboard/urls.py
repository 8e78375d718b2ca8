"""Addresses of the dashboard; a project includes them where it likes."""

from django.urls import include, path

from dashboard import inbox_urls
from dashboard.views import executions, home

app_name = "signoff"

# Ids are one segment each, written as in the inbox: nothing can be taken for a part of one.
urlpatterns = [
    path("", home.home, name="home"),
    path("theme/", home.theme, name="theme"),
    path("search/", home.search, name="search"),
    path("live/", home.live, name="live"),
    path("executions/", executions.index, name="executions"),
    path("executions/<question:execution_id>/", executions.show, name="execution"),
    path("executions/<question:execution_id>/cancel/", executions.cancel, name="cancel"),
    path("executions/<path:execution_id>/", executions.find, name="find_execution"),
    path("", include(inbox_urls)),
]
