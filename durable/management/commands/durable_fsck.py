"""``manage.py durable_fsck``: check the 45 state properties on the live database."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from durable.machine.properties import check_state
from durable.store import get_store
from durable.store.snapshot import read_snapshot


class Command(BaseCommand):
    """Reads everything in one consistent view; changes nothing."""

    help = "Check the protocol's state properties on all promises, tasks, schedules and messages."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Print each violation; exit with an error when there is one."""
        store = get_store()
        state = read_snapshot(store.connection, store.config)
        violations = check_state(state, store.clock_now())
        for violation in violations:
            self.stdout.write(str(violation))
        counted = f"{len(state.promises)} promises, {len(state.tasks)} tasks"
        if violations:
            message = f"{len(violations)} violations in {counted}"
            raise CommandError(message)
        self.stdout.write(self.style.SUCCESS(f"no violations in {counted}"))
