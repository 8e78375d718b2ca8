"""System checks of delivery: the message states the problem, the hint the fix."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004

from durable import conf

_DEAF_AFTER_SECONDS = 300
_MODES = ("none", "bearer", "oidc")


@register()
def check_delivery(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check the settings of delivery."""
    return [*_stream_errors(), *_push_problems(), *_metrics_errors()]


def _stream_errors() -> Iterator[CheckMessage]:
    seconds = conf.sse_rotation_seconds()
    if not 0 < seconds < _DEAF_AFTER_SECONDS:
        yield Error(
            f"DURABLE_SSE_ROTATION_SECONDS is {seconds}: workers with the Python SDK stop "
            "listening for good when a stream is five minutes old.",
            hint="Set it to less than 300; the default is 240.",
            id="durable.E020",
        )


def _push_problems() -> Iterator[CheckMessage]:
    mode = conf.push_auth()
    if mode not in _MODES:
        yield Error(
            f"DURABLE_PUSH_AUTH is {mode!r}, which is no way to show who posts.",
            hint=f"Use one of: {', '.join(_MODES)}.",
            id="durable.E021",
        )
    elif mode == "bearer" and not conf.push_token():
        yield Error(
            "DURABLE_PUSH_AUTH is 'bearer', and there is no DURABLE_PUSH_TOKEN.",
            hint="Set the token, or DURABLE_PUSH_AUTH to 'none'.",
            id="durable.E022",
        )
    elif mode != "none" and not conf.push_allowed_hosts():
        yield Warning(
            "DURABLE_PUSH_AUTH has no effect: tokens go to hosts of DURABLE_PUSH_ALLOWED_HOSTS "
            "only, and none is listed.",
            hint="List the hosts that messages are posted to.",
            id="durable.W020",
        )


def _metrics_errors() -> Iterator[CheckMessage]:
    for network in conf.metrics_allowed():
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield Error(
                f"DURABLE_METRICS_ALLOWED holds {network!r}, which is no address or network.",
                hint="List addresses as 10.0.0.1 and networks as 10.0.0.0/8.",
                id="durable.E023",
            )
