"""The rows by which the processes of one database know each other's streams."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Collection, Iterable

from django.db import transaction

from durable import clock
from durable.delivery.streams import Stream
from durable.models import GatewayProcess
from durable.models import Stream as StreamRow
from durable.notify import get_notifier
from durable.notify.base import STREAMS

BEAT_SECONDS = 5.0
GONE_MS = 30_000
"""A process that was silent for so long is gone, and its streams with it."""

_logger = logging.getLogger(__name__)


class Presence:
    """Keeps the rows of this process, and reads those of the others. For one thread."""

    def __init__(self, alias: str) -> None:
        """``alias`` names the database."""
        self._alias = alias
        self._row = GatewayProcess(
            id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            host=socket.gethostname(),
            started_at=clock.now_ms(),
            seen_at=0,
        )
        self._beats_at = 0.0
        self._recorded: set[str] = set()

    def record(self, opened: Iterable[Stream], closed: Iterable[Stream]) -> None:
        """Write which streams came and went, and tell the others; twice is the same as once."""
        gone = {one.id for one in closed}
        come = [one for one in opened if one.id not in gone and one.id not in self._recorded]
        self._write(come, gone)
        self._recorded.update(one.id for one in come)
        self._recorded -= gone

    def _write(self, come: Iterable[Stream], gone: Collection[str]) -> None:
        rows = [
            StreamRow(
                id=one.id,
                gateway=self._row,
                queue=one.group,
                worker=one.worker,
                opened_at=one.opened_at,
            )
            for one in come
        ]
        with transaction.atomic(using=self._alias):
            if rows:
                StreamRow.objects.using(self._alias).bulk_create(rows)
            if gone:
                StreamRow.objects.using(self._alias).filter(id__in=gone).delete()
            get_notifier(self._alias).publish({STREAMS})

    def beat(self) -> bool:
        """Say now and then that the process lives, and forget those that do not; whether it did."""
        if time.monotonic() < self._beats_at:
            return False
        self._row.seen_at = clock.now_ms()
        processes = GatewayProcess.objects.using(self._alias)
        processes.bulk_create(
            [self._row], update_conflicts=True, unique_fields=["id"], update_fields=["seen_at"]
        )
        gone = list(
            processes.filter(seen_at__lt=self._row.seen_at - 2 * GONE_MS).values_list(
                "id", flat=True
            )
        )
        if gone:
            StreamRow.objects.using(self._alias).filter(gateway_id__in=gone).delete()
            processes.filter(id__in=gone).delete()
        self._beats_at = time.monotonic() + BEAT_SECONDS
        return True

    def read_others(self) -> dict[tuple[str, str], int]:
        """Return group and id of the streams of other living processes, and when they opened."""
        rows = (
            StreamRow.objects.using(self._alias)
            .filter(gateway__seen_at__gte=clock.now_ms() - GONE_MS)
            .exclude(gateway=self._row)
            .order_by("opened_at")
            .values_list("queue", "worker", "opened_at")
        )
        return {(queue, worker): opened_at for queue, worker, opened_at in rows}

    def restore(self, streams: Iterable[Stream]) -> None:
        """Write again rows that others took for those of a dead process.

        Streams that were never recorded are left to ``record``: they may have opened just now.
        """
        mine = {one.id: one for one in streams if one.id in self._recorded}
        known = StreamRow.objects.using(self._alias).filter(id__in=mine)
        missing = mine.keys() - set(known.values_list("id", flat=True))
        if missing:
            _logger.warning("streams were forgotten", extra={"action": "presence"})
            self._write([mine[one] for one in missing], [])

    def leave(self) -> None:
        """Remove the rows of this process."""
        self._recorded.clear()
        with transaction.atomic(using=self._alias):
            StreamRow.objects.using(self._alias).filter(gateway=self._row).delete()
            GatewayProcess.objects.using(self._alias).filter(id=self._row.id).delete()
            get_notifier(self._alias).publish({STREAMS})
