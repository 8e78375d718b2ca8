"""``{% has_slack %}``, for the menu: whether people can link an account there."""

from django import template

from dashboard.channels.slack import slack_channels

register = template.Library()


@register.simple_tag
def has_slack() -> bool:
    """Whether there is any app in Slack."""
    return bool(slack_channels())
