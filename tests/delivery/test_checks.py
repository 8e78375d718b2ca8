"""System checks of delivery, word by word."""

import pytest

from durable.delivery.checks import check_delivery


def test_the_defaults_are_right() -> None:
    assert check_delivery(None) == []


@pytest.mark.parametrize(
    ("settings_", "found", "text"),
    [
        (
            {"DURABLE_SSE_ROTATION_SECONDS": 300},
            "durable.E020",
            (
                "DURABLE_SSE_ROTATION_SECONDS is 300: workers with the Python SDK stop listening "
                "for good when a stream is five minutes old."
            ),
        ),
        (
            {"DURABLE_PUSH_AUTH": "basic"},
            "durable.E021",
            "DURABLE_PUSH_AUTH is 'basic', which is no way to show who posts.",
        ),
        (
            {"DURABLE_PUSH_AUTH": "bearer"},
            "durable.E022",
            "DURABLE_PUSH_AUTH is 'bearer', and there is no DURABLE_PUSH_TOKEN.",
        ),
        (
            {"DURABLE_PUSH_AUTH": "oidc"},
            "durable.W020",
            (
                "DURABLE_PUSH_AUTH has no effect: tokens go to hosts of DURABLE_PUSH_ALLOWED_HOSTS "
                "only, and none is listed."
            ),
        ),
        (
            {"DURABLE_METRICS_ALLOWED": ["here"]},
            "durable.E023",
            "DURABLE_METRICS_ALLOWED holds 'here', which is no address or network.",
        ),
    ],
)
def test_problems(settings, settings_, found, text) -> None:
    for name, value in settings_.items():
        setattr(settings, name, value)
    [message] = check_delivery(None)
    assert (message.id, message.msg) == (found, text)
    assert message.hint
