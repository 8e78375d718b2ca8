"""The process's store and notifier for each database."""

import os

from durable import conf
from durable.notify.base import close_notifiers, forget_notifiers
from durable.store.database import DatabaseStore

_stores: dict[str, DatabaseStore] = {}


def get_store() -> DatabaseStore:
    """Return this process's store on the database of ``DURABLE_DATABASE``."""
    alias = conf.database_alias()
    if store := _stores.get(alias):
        return store
    # of threads that come first at once all get the one of them; no other was ever used
    return _stores.setdefault(alias, DatabaseStore(alias, conf.machine_config()))


def close_store() -> None:
    """Commit what is queued and end the threads of store and notifier; the next use starts anew."""
    for store in list(_stores.values()):
        store.close()
    close_notifiers()
    forget()


def forget() -> None:
    """Forget store and notifier: a forked child does not have their threads."""
    _stores.clear()
    forget_notifiers()


os.register_at_fork(after_in_child=forget)
