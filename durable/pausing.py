"""Lets the loops of this process stand still, while the debug surface is what moves time."""

import threading

_running = threading.Event()
_running.set()


def pause() -> None:
    """Let every loop that asks stand still before its next round."""
    _running.clear()


def resume() -> None:
    """Let them go on."""
    _running.set()


def is_paused() -> bool:
    """Whether a loop should do nothing in this round."""
    return not _running.is_set()
