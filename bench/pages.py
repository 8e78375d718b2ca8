"""How long pages take over many executions: Django's test client, without a network."""

import time
from collections.abc import Iterator

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

import durable
from bench.figures import Figure, milliseconds
from bench.load import start_many
from bench.multiply import multiply
from bench.session import Session
from bench.workflows import approval, parallel
from dashboard.models import HumanTask

_STARTED = 200
_LONGEST = 120
_WARM_UPS = 3
_BIG = "big"


def measure(session: Session) -> Iterator[Figure]:
    """Fill the database, half of the executions done, and get each page again and again."""
    _fill(session)
    decider = get_user_model().objects.create_user("bench-decider")
    decider.groups.add(Group.objects.get(name="bench-deciders"))
    operator = get_user_model().objects.create_superuser("bench-operator")
    open_tasks = HumanTask.objects.filter(settled_at__isnull=True)
    question = open_tasks.latest("created_at")
    done = f"{reverse('signoff:inbox')}?tab=done"
    pages = (
        ("inbox", decider, reverse("signoff:inbox")),
        ("inbox of an operator", operator, reverse("signoff:inbox")),
        ("inbox, done", decider, done),
        ("one question", decider, reverse("signoff:task", args=[question.pk])),
        ("executions", operator, reverse("signoff:executions")),
        ("one execution", operator, reverse("signoff:execution", args=[question.origin])),
        (f"one execution of {session.sizes.fan:,} steps", operator,
         reverse("signoff:execution", args=[_BIG])),
    )  # fmt: skip
    for name, user, url in pages:
        client = Client()
        client.force_login(user)
        times = [get(client, url) for _ in range(_WARM_UPS + session.sizes.samples)]
        yield milliseconds(f"{session.sizes.pages:,} executions: {name}", times[_WARM_UPS:])


def _fill(session: Session) -> None:
    Group.objects.create(name="bench-deciders")
    concurrency = session.sizes.concurrency
    started = min(_STARTED, session.sizes.pages)
    with session.workers():
        start_many(approval, started, prefix="parked", concurrency=concurrency, numbered=True)
        questions = _wait_for_questions(started)
        for question in questions[::2]:
            durable.promises.resolve(question, {"approved": True, "answer": "approve"})
        session.marks.wait_all("done", len(questions[::2]), timeout=_LONGEST)
        durable.start(_BIG, parallel, session.sizes.fan).result(timeout=_LONGEST)
    multiply("parked-", session.sizes.pages // started)


def _wait_for_questions(number: int) -> list[str]:
    end = time.monotonic() + _LONGEST
    questions = HumanTask.objects.order_by("pk")
    while (found := questions.count()) < number:
        if time.monotonic() > end:
            message = f"{found} of {number} questions within {_LONGEST} s"
            raise TimeoutError(message)
        time.sleep(0.1)
    return list(questions.values_list("pk", flat=True))


def get(client: Client, url: str) -> float:
    """Return how many seconds a page takes; raises when it is not a page."""
    called_at = time.monotonic()
    response = client.get(url)
    seconds = time.monotonic() - called_at
    if response.status_code != 200:
        message = f"{url} answered {response.status_code}"
        raise RuntimeError(message)
    return seconds
