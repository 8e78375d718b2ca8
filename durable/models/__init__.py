"""Schema of the engine. Rows of the protocol are written by ``durable.store`` alone."""

from durable.models.history import HistoryEvent, TaskEvent
from durable.models.outbox import OutboxMessage
from durable.models.promise import Callback, Listener, Promise
from durable.models.schedule import Schedule
from durable.models.stream import GatewayProcess, Stream
from durable.models.task import Task
from durable.models.token import Token
from durable.models.worker import Worker

__all__ = [
    "Callback",
    "GatewayProcess",
    "HistoryEvent",
    "Listener",
    "OutboxMessage",
    "Promise",
    "Schedule",
    "Stream",
    "Task",
    "TaskEvent",
    "Token",
    "Worker",
]
