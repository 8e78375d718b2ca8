"""State and database: one program of requests is one transaction (design: the store)."""

from durable.store.registry import close_store, get_store

__all__ = ["close_store", "get_store"]
