"""``manage.py serve``: pages, streams and background loops in one process; a worker if asked."""

import importlib
from types import FrameType
from typing import Any

import uvicorn
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.management.base import BaseCommand, CommandParser
from django.utils import autoreload

from durable import checks, signals
from durable.background.runner import BackgroundRunner
from durable.delivery.dispatcher import get_dispatcher
from durable.delivery.streams import hub
from durable.management.memory import calm_collector
from durable.management.stopping import on_stop
from durable.store import close_store, get_store
from durable.worker.options import add_worker_arguments, build_worker

GRACEFUL_SECONDS = 2


class Server(uvicorn.Server):
    """Tells open streams to end as soon as it is asked to stop: they would hold it up."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGINT and SIGTERM."""
        signals.stopping.send_robust(type(self))
        super().handle_exit(sig, frame)


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT, then ends within seconds."""

    help = "Serve the site with its live streams and the engine's background loops."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8001)
        parser.add_argument("--reload", action="store_true", help="restart when code changes")
        parser.add_argument("--worker", action="store_true", help="run a worker in this process")
        add_worker_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Serve."""
        self.check(tags=[checks.GATEWAY], include_deployment_checks=True)
        if options["reload"]:
            autoreload.run_with_reloader(self._serve, **options)
        else:
            self._serve(**options)

    def _serve(self, **options: Any) -> None:
        server = Server(
            uvicorn.Config(
                with_static_files(load_application(settings.ASGI_APPLICATION)),
                host=options["host"],
                port=options["port"],
                lifespan="off",
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
            )
        )
        runner = BackgroundRunner(get_store())
        dispatcher = get_dispatcher()
        signals.stopping.connect(hub.stop, dispatch_uid="serve-streams")
        worker = build_worker(options) if options["worker"] else None
        if worker is not None:
            signals.stopping.connect(worker.request_stop, dispatch_uid="serve-worker")
        # uvicorn raises the signal once more when it has shut down; the rest is still to be closed
        on_stop(lambda: None)
        calm_collector()
        runner.start()
        dispatcher.start()
        try:
            if worker is not None:
                worker.start()
            self.stdout.write(f"Serving http://{options['host']}:{options['port']}/")
            server.run()
        finally:
            if worker is not None:
                worker.stop()
            dispatcher.stop()
            runner.stop()
            close_store()


def load_application(path: str) -> Any:
    """Import the ASGI application that a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def with_static_files(application: Any) -> Any:
    """In development serve the static files as well, as ``runserver`` does."""
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
        return ASGIStaticFilesHandler(application)
    return application
