"""The process's store and notifier for each database."""

import os
from functools import cache

from durable import conf
from durable.notify.base import get_notifier
from durable.store.database import DatabaseStore


def get_store() -> DatabaseStore:
    """Return this process's store on the database of ``DURABLE_DATABASE``."""
    return _get_store(conf.database_alias())


@cache
def _get_store(alias: str) -> DatabaseStore:
    return DatabaseStore(alias, conf.machine_config())


def close_store() -> None:
    """Commit what is queued and end the threads of store and notifier; the next use starts anew."""
    if _get_store.cache_info().currsize:
        get_store().close()
    if get_notifier.cache_info().currsize:
        get_notifier(conf.database_alias()).close()
    forget()


def forget() -> None:
    """Forget store and notifier: a forked child does not have their threads."""
    _get_store.cache_clear()
    get_notifier.cache_clear()


os.register_at_fork(after_in_child=forget)
