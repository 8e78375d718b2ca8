"""How a command that runs until it is asked to stop hears of it."""

import signal
import threading
from collections.abc import Callable
from types import FrameType


def on_stop(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop()

    if threading.current_thread() is threading.main_thread():  # under a reloader it is not
        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
