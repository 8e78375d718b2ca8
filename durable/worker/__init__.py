"""Processes that run functions: claim, replay, heartbeat, give back."""

from durable.worker.worker import Worker

__all__ = ["Worker"]
