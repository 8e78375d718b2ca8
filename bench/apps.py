"""The benchmarks' workflows as a Django app, named in ``SIGNOFF_APPS`` by the runner."""

import os

from django.apps import AppConfig


class BenchConfig(AppConfig):
    """Brings ``bench.workflows`` to every process of a run."""

    name = "bench"

    def ready(self) -> None:
        """Count the statements of this process where a run asks for it."""
        if "BENCH_COUNTS" in os.environ:
            from bench import tracing  # noqa: PLC0415 - nobody else pays for it

            tracing.start()
