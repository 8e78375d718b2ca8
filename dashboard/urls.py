"""Addresses of the dashboard; a project includes them where it likes."""

from django.urls import include, path
from django.views.i18n import set_language

from dashboard import inbox_urls
from dashboard.views import audit, executions, home, tokens

app_name = "signoff"

# Ids are one segment each, written as in the inbox: nothing can be taken for a part of one.
urlpatterns = [
    path("", home.home, name="home"),
    path("theme/", home.theme, name="theme"),
    path("language/", set_language, name="language"),
    path("search/", home.search, name="search"),
    path("live/", home.live, name="live"),
    path("executions/", executions.index, name="executions"),
    path("executions/<question:execution_id>/", executions.show, name="execution"),
    path("executions/<question:execution_id>/cancel/", executions.cancel, name="cancel"),
    path("executions/<path:execution_id>/", executions.find, name="find_execution"),
    path("account/tokens/", tokens.index, name="tokens"),
    path("account/tokens/<int:token_id>/revoke/", tokens.revoke, name="revoke_token"),
    path("audit/", audit.index, name="audit"),
    path("audit/audit.<str:form>", audit.download, name="audit_download"),
    path("", include("dashboard.channels.urls")),
    path("", include("dashboard.webhooks.urls")),
    path("", include(inbox_urls)),
]
