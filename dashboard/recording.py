"""Writes the rows that describe latent promises to people, from the promises themselves."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.db.models import OuterRef, Subquery

from dashboard import auditing
from dashboard.attendance import attend, stop
from dashboard.deciders import call_deciders, named_in
from dashboard.descriptions import Description, DescriptionError, read_description
from dashboard.descriptions.description import check_times, parse_description
from dashboard.descriptions.form import check_listed
from dashboard.models import (
    NO_DUE,
    AuditEntry,
    Comment,
    Decider,
    DecisionLink,
    Draft,
    HeldAnswer,
    HumanTask,
    Snooze,
    TaskMoment,
    Vote,
)
from durable.models import Promise
from durable.prepared import execute
from durable.protocol import tags
from durable.protocol.records import PromiseRecord

_SETTLE_TASK = "update signoff_humantask set settled_at = %s where promise_id = %s"
_CLOSE_DECIDERS = "update signoff_decider set is_open = %s where task_id = %s"
_END_SNOOZES = "delete from signoff_snooze where task_id = %s"
_OF_ONE_LIFE = (Decider, Vote, Draft, HeldAnswer, Comment, DecisionLink, Snooze, TaskMoment)
_TASK_COLUMNS = [field.name for field in HumanTask._meta.concrete_fields if not field.primary_key]


def record_tasks(promises: Collection[PromiseRecord], *, using: str) -> None:
    """Describe latent promises in one transaction.

    Of those that have been described only whether they are open is written again: the rest may have
    moved on with the people who handle them.
    """
    known = dict(
        HumanTask.objects.using(using)
        .filter(pk__in=[promise.id for promise in promises])
        .values_list("pk", "created_at")
    )
    for promise in promises:
        if known.get(promise.id) == promise.created_at:
            _note_state(promise, using=using)
    new = [promise for promise in promises if known.get(promise.id) != promise.created_at]
    if new:
        _record_new(new, [one.id for one in new if one.id in known], using=using)


def _note_state(promise: PromiseRecord, *, using: str) -> None:
    with transaction.atomic(using=using):
        HumanTask.objects.using(using).filter(pk=promise.id).update(settled_at=promise.settled_at)
        deciders = Decider.objects.using(using).filter(task=promise.id)
        deciders.update(is_open=promise.settled_at is None)


def _record_new(promises: Sequence[PromiseRecord], pruned: Collection[str], *, using: str) -> None:
    """Write the rows of promises; of those ``pruned`` there are some of an earlier life."""
    questions = [_Question.read(promise) for promise in promises]
    ids = [promise.id for promise in promises]
    owners = _Owners.read([name for one in questions for name in one.names()], using=using)
    deciders = [
        owners.bind(Decider(task_id=one.promise.id, kind=kind, name=name, is_open=one.is_open))
        for one in questions
        for kind, name in one.names()
    ]
    assigned = {one.task_id for one in deciders if not one.is_unknown or one.is_permission}
    lineages = _read_lineages(ids, using=using)
    with transaction.atomic(using=using):
        tasks = [one.to_task(lineages, is_assigned=one.promise.id in assigned) for one in questions]
        HumanTask.objects.using(using).bulk_create(
            tasks,
            update_conflicts=True,
            unique_fields=["promise"],
            update_fields=_TASK_COLUMNS,
        )
        for model in _OF_ONE_LIFE if pruned else ():  # nothing of it counts for the next
            model._default_manager.using(using).filter(task__in=pruned).delete()
        Decider.objects.using(using).bulk_create(deciders)
        attend(tasks, using=using)


def read_given(described: Any, promise: PromiseRecord, at: int) -> Description:
    """Check a description that is given for a promise at a time; raises ``DescriptionError``."""
    return _checked(parse_description(described), promise, asked_at=at)


def record_given(task: HumanTask, description: Description, at: int, *, using: str) -> HumanTask:
    """Put a description from ``read_given`` in place of what a question says so far.

    In the caller's transaction, which holds the promise. Whoever was named is forgotten, and so are
    who took it on, who put it off and what somebody began to write: it is another question now.
    """
    named = list(dict.fromkeys((*named_in(description), *call_deciders(description))))
    owners = _Owners.read(named, using=using)
    deciders = [owners.bind(Decider(task_id=task.pk, kind=kind, name=name)) for kind, name in named]
    columns = _columns_of(description) | {
        "is_unassigned": all(one.is_unknown and not one.is_permission for one in deciders),
        "excludes_starter": description.separation.starter,
        "described_at": at,
        "problem": "",
        "claimed_by": None,
        "claimed_at": None,
        "released_at": None,
        "waits_for_requester_since": None,
    }
    HumanTask.objects.using(using).filter(pk=task.pk).update(**columns)
    for model in (Decider, Draft, HeldAnswer, Snooze):
        model._default_manager.using(using).filter(task=task.pk).delete()
    Decider.objects.using(using).bulk_create(deciders)
    stop([task.pk], "the question was described anew", using=using)
    changed = HumanTask.objects.using(using).get(pk=task.pk)
    attend([changed], using=using)
    return changed


def record_settled(
    settled_at: Mapping[str, int], entries: Mapping[str, AuditEntry], *, using: str
) -> None:
    """Note when promises were settled, so that the indexes of open tasks can leave them out.

    ``entries`` are rows of the audit trail by id. Every decision waits for this, and building it
    from models would take longer than all the rest.
    """
    connection = connections[using]
    for pk, at in settled_at.items():  # nearly always one
        statements: list[tuple[str, Sequence[Any]]] = [(_SETTLE_TASK, (at, pk))]
        if pk in entries:
            values = auditing.values_of(entries[pk], connection)
            statements.append((auditing.INSERT, values))
        statements.append((_END_SNOOZES, (pk,)))
        statements.append((_CLOSE_DECIDERS, (False, pk)))
        if connection.vendor == "postgresql":  # in one round trip
            *others, (last, _values) = statements
            parts = ", ".join(f"s{place} as ({sql})" for place, (sql, _) in enumerate(others))
            params = [one for _, values in statements for one in values]
            execute(connection, f"with {parts} {last}", params)
        else:
            with connection.cursor() as cursor:
                for sql, values in statements:
                    cursor.execute(sql, values)


def bind_names(deciders: Collection[Decider], *, using: str) -> int:
    """Bind rows that match by name to the user or group that has the name; return how many."""
    owners = _Owners.read([(one.kind, one.name) for one in deciders], using=using)
    bound = [one for one in map(owners.bind, deciders) if not one.is_unknown]
    with transaction.atomic(using=using):
        Decider.objects.using(using).bulk_update(bound, ["user", "group", "is_unknown"])
        HumanTask.objects.using(using).filter(pk__in={one.task_id for one in bound}).update(
            is_unassigned=False
        )
    return len(bound)


class _Lineage(NamedTuple):
    origin: str
    function: str
    started_by: str


class _Question(NamedTuple):
    """A promise with what it says to people, and what is wrong with that."""

    promise: PromiseRecord
    description: Description | None
    title: str = ""
    problem: str = ""
    called: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, promise: PromiseRecord) -> Self:
        """Read the description of a promise; a mistake in it hides nothing."""
        try:
            description = read_description(promise.param.data, promise.tags)
            if description is None:
                return cls(promise, None)
            _checked(description, promise, asked_at=promise.created_at)
            called = call_deciders(description)
        except DescriptionError as error:
            return cls(promise, None, error.title, str(error))
        return cls(promise, description, description.title, called=called)

    @property
    def is_open(self) -> bool:
        """Whether it is not known to be settled."""
        return self.promise.settled_at is None

    def names(self) -> Iterator[tuple[str, str]]:
        """Return the kinds and names of those who may answer."""
        if self.description is not None:
            yield from dict.fromkeys((*named_in(self.description), *self.called))

    def to_task(self, lineages: Mapping[str, _Lineage], *, is_assigned: bool) -> HumanTask:
        """Return the row."""
        promise, described = self.promise, self.description or Description(self.title)
        of_tags = _Lineage(promise.tags.get(tags.ORIGIN, promise.id), "", "")
        lineage = lineages.get(promise.id, of_tags)
        return HumanTask(
            promise_id=promise.id,
            created_at=promise.created_at,
            settled_at=promise.settled_at,
            is_unassigned=not is_assigned,
            started_by=lineage.started_by,
            excludes_starter=self.description is not None and described.separation.starter,
            origin=lineage.origin,
            function=lineage.function,
            problem=self.problem,
            **_columns_of(described),
        )


def _checked(description: Description, promise: PromiseRecord, *, asked_at: int) -> Description:
    """Refuse what does not fit the promise, or what this project does not know."""
    check_times(description, asked_at=asked_at, deadline=promise.timeout_at)
    try:
        check_listed(description.form)
    except DescriptionError as error:
        error.title = description.without_secrets().title
        raise
    return description


def _columns_of(described: Description) -> dict[str, Any]:
    shown = described.without_secrets()
    return {
        "title": shown.title,
        "question": shown.question,
        "due_at": NO_DUE if described.due_at is None else described.due_at,
        "type": described.type,
        "priority": described.priority,
        "follow_up_at": described.follow_up_at,
        "expires_at": described.expires_at,
        "previous": described.previous,
        "round": described.round,
        "description": described.raw,
    }


class _Owners(NamedTuple):
    """The ids of users and groups by name."""

    users: Mapping[str, int]
    groups: Mapping[str, int]

    @classmethod
    def read(cls, names: Iterable[tuple[str, str]], *, using: str) -> Self:
        """Look up kinds and names. Two queries at most."""
        wanted = set(names)
        user_names = {name for kind, name in wanted if kind == Decider.Kind.USER}
        group_names = {name for kind, name in wanted if kind == Decider.Kind.GROUP}
        users: dict[str, int] = {}
        groups: dict[str, int] = {}
        if user_names:
            model = get_user_model()
            key = model.USERNAME_FIELD
            found = model._default_manager.using(using).filter(**{f"{key}__in": user_names})
            users = dict(found.values_list(key, "pk"))
        if group_names:
            found_groups = Group.objects.using(using).filter(name__in=group_names)
            groups = dict(found_groups.values_list("name", "pk"))
        return cls(users, groups)

    def bind(self, decider: Decider) -> Decider:
        """Bind a row to whom its name belongs; a name that nobody has stays a name."""
        if decider.kind == Decider.Kind.PERMISSION:
            decider.is_unknown = True
            return decider
        if decider.kind == Decider.Kind.USER:
            decider.user_id = self.users.get(decider.name)
        else:
            decider.group_id = self.groups.get(decider.name)
        decider.is_unknown = decider.user_id is None and decider.group_id is None
        return decider


def _read_lineages(ids: list[str], *, using: str) -> dict[str, _Lineage]:
    roots = Promise.objects.filter(pk=OuterRef("origin"))
    root = {one: Subquery(roots.values(one)[:1]) for one in ("function", "started_by")}
    found = Promise.objects.using(using).filter(pk__in=ids)
    rows = found.values_list("pk", "origin", root["function"], root["started_by"])
    return {pk: _Lineage(origin, function or "", by or "") for pk, origin, function, by in rows}
