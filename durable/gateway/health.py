"""Whether the process lives (``/health``) and can reach its database (``/ready``)."""

import asyncio
import logging

from django.db import connections

from durable import conf
from durable.gateway.executor import executor

_READY_SECONDS = 3.0

_logger = logging.getLogger(__name__)


async def is_ready() -> bool:
    """Whether the database answers: one cheap round trip."""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await executor.run(_ask)
    except Exception:
        _logger.warning("not ready", extra={"action": "ready"}, exc_info=True)
        return False
    return True


def _ask() -> None:
    with connections[conf.database_alias()].cursor() as cursor:
        cursor.execute("select 1")
