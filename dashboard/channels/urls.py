"""Addresses that messages lead to, to be included in the namespace ``signoff``."""

from django.urls import path

from dashboard.views import muting, notifications, slack

urlpatterns = [
    path("slack/interactions/", slack.interact, name="slack_interactions"),
    path("account/slack/", slack.account, name="slack_account"),
    path("account/notifications/", notifications.notifications, name="notifications"),
    path("account/mute/<str:token>/", muting.mute, name="mute"),
]
