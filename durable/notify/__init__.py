"""Wake-up hints between threads and processes. The table is the truth; a hint may be lost."""

from durable.notify.base import EVERYTHING, LATENT, SETTLED, Notifier, get_notifier, ready

__all__ = ["EVERYTHING", "LATENT", "SETTLED", "Notifier", "get_notifier", "ready"]
