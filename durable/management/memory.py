"""How long-running commands collect garbage."""

import gc

_YOUNGEST = 20_000
_AGAIN = 20


def calm_collector() -> None:
    """Collect more rarely, and never again what is loaded by now.

    A worker makes many small objects that all live until their commit. At Python's own thresholds
    a tenth of its time goes into finding that they still do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNGEST, _AGAIN, _AGAIN)
