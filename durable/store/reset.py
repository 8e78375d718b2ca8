"""Deletes everything that the protocol knows, for the debug surface."""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# what refers to others first
_TABLES = (
    "durable_outboxmessage",
    "durable_historyevent",
    "durable_callback",
    "durable_listener",
    "durable_schedule",
    "durable_task",
    "durable_promise",
)


def delete_everything(connection: BaseDatabaseWrapper) -> None:
    """Delete all promises, tasks, schedules and messages."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"delete from {table}")
