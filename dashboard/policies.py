"""The votes on questions, as their policies count them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, Self

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import prefetch_related_objects

from dashboard.delegations import active_delegations
from dashboard.descriptions.policy import (
    Ballot,
    Kind,
    Leaf,
    Person,
    Policy,
    Progress,
    can_help,
    counts,
    evaluate,
    leaves,
    matches,
)
from dashboard.models import Decider, HumanTask, Vote
from dashboard.people import name_of
from dashboard.permissions import may_settle_any
from dashboard.rights import Capacity, RefusedError, capacity_of, recipients_of
from dashboard.votes import is_kept_up
from durable.conf import database_alias


class Wait(NamedTuple):
    """Why it is not somebody's turn: who answers before them, or, if a time says so, when it is."""

    after: tuple[str, ...]
    opens_at: int | None


class Standing(NamedTuple):
    """How far the votes bring a question; ``wait`` is set where it is not the reader's turn yet."""

    progress: Progress
    wait: Wait | None


def progress_of(task: HumanTask, now: int) -> Progress:
    """Return how far the votes bring a question that has a policy; ``now`` is epoch ms."""
    if (progress := progress_of_each([task], now).get(task.pk)) is None:
        message = f"{task.pk!r} has no policy"
        raise ValueError(message)
    return progress


def progress_of_each(tasks: Iterable[HumanTask], now: int) -> dict[str, Progress]:
    """Return the same by id of question, without those that have no policy.

    Three queries, and for policies that name permissions what it takes to ask the voters' for them.
    """
    return {pk: progress for pk, (progress, _names) in _count_each(tasks, now).items()}


def standing_of_each(
    tasks: Iterable[HumanTask], user: AbstractBaseUser, now: int
) -> dict[str, Standing]:
    """Return it with whether it is the user's turn, as progress_of_each does; two queries more."""
    by_id = {task.pk: task for task in tasks}
    counted = _count_each(by_id.values(), now)
    waiting = {pk for pk in counted if _opens_in_parts(policy_of(by_id[pk]))}
    deputed = active_delegations(user) if waiting else ()
    people = [user, *(one.principal for one in deputed)] if waiting else []
    prefetch_related_objects(people, "groups")
    found = {}
    for pk, (progress, names) in counted.items():
        task = by_id[pk]
        is_open = pk not in waiting
        wait = None if is_open else _wait_of(task, _people_of(task, user, names), progress)
        found[pk] = Standing(progress, wait)
    return found


def wait_for(task: HumanTask, capacity: Capacity, progress: Progress) -> Wait:
    """Return what a vote that does not count yet has to wait for, as far as that can be said."""
    return _wait_of(task, [person_of(task, capacity)], progress) or Wait((), None)


def _people_of(task: HumanTask, user: AbstractBaseUser, names: "_Names") -> list[Person]:
    """Return whom somebody may answer for, as the policy knows them."""
    policy = policy_of(task)
    own = Person(**_known_of(user, policy, names))
    if policy is None or any(matches(leaf, own) for leaf in leaves(policy)):
        return [own]
    return [
        Person(**_known_of(one.principal, policy, names, {one.group_id} if one.group_id else None))
        for one in active_delegations(user)
        if one.task_type in {"", task.type}
    ]


def _wait_of(task: HumanTask, people: Iterable[Person], progress: Progress) -> Wait | None:
    policy = policy_of(task)
    if policy is None or progress.verdict is not None:
        return None
    lines = list(zip(policy.nodes, progress.requirements, strict=True))
    mine = [
        (person, line)
        for person in people
        for node, line in lines
        if isinstance(node, Leaf) and matches(node, person)
    ]
    if not mine or any(counts(policy, person, progress) for person, _line in mine):
        return None
    times = [line.opens_at for _person, line in mine if line.opens_at is not None]
    before = (
        line.label
        for node, line in lines
        if isinstance(node, Leaf) and line.is_active and not (line.is_done or line.is_moot)
    )
    return Wait(tuple(dict.fromkeys(before)), min(times, default=None))


def _opens_in_parts(policy: Policy | None) -> bool:
    return policy is not None and any(
        node.kind is Kind.STAGES or node.after for node in policy.nodes
    )


def _count_each(tasks: Iterable[HumanTask], now: int) -> dict[str, tuple[Progress, "_Names"]]:
    policies = {task.pk: (task, policy) for task in tasks if (policy := policy_of(task))}
    if not policies:
        return {}
    names = _Names.read(policies)
    votes = _votes_on(policies)
    counted = {}
    for pk, (task, policy) in policies.items():
        ballots = [_ballot(one, policy, names[pk]) for one in votes.get(pk, ())]
        progress = evaluate(
            policy,
            ballots,
            created_at=task.asked_at,
            now=now,
            others=_others(task, policy, names[pk], ballots),
            people=names[pk].people,
        )
        counted[pk] = progress, names[pk]
    return counted


def could_help(task: HumanTask, capacity: Capacity, progress: Progress) -> bool:
    """Whether the vote of somebody who has none could bring a question forward, or stop it."""
    policy = policy_of(task)
    return policy is not None and can_help(policy, person_of(task, capacity), progress)


def would_count(task: HumanTask, capacity: Capacity, progress: Progress) -> bool:
    """Whether a vote of somebody counts now: not before the stage that they belong to is open."""
    policy = policy_of(task)
    return policy is not None and counts(policy, person_of(task, capacity), progress)


def whose_turn(
    task: HumanTask, people: Iterable[AbstractBaseUser], now: int
) -> list[AbstractBaseUser]:
    """Leave those of these people whose answer is wanted now.

    Where one answer decides these are all, or whoever has taken it on; else those who have not
    answered, and belong to what is open.
    """
    policy = policy_of(task)
    if policy is None:
        return [one for one in people if task.claimed_by_id is None or _may_answer(task, one)]
    progress, names = progress_of(task, now), _Names.read([task.pk])[task.pk]
    voted = {vote.user_id for vote in _votes_on([task.pk]).get(task.pk, ())}
    found = []
    for user in people:
        try:
            capacity = capacity_of(task, user)
        except RefusedError:
            continue
        principal = capacity.principal
        person = Person(**_known_of(principal, policy, names, capacity.only_groups))
        if principal.pk not in voted and can_help(policy, person, progress):
            found.append(user)
    return found


def _may_answer(task: HumanTask, user: AbstractBaseUser) -> bool:
    try:
        capacity_of(task, user)
    except RefusedError:
        return False
    return True


def next_opening(task: HumanTask, now: int) -> int | None:
    """Return when a part of a policy opens that waits for its time; None when none does."""
    return progress_of(task, now).next_change_at if has_policy(task) else None


def has_stages(task: HumanTask) -> bool:
    """Whether an answer can make it the turn of others."""
    policy = policy_of(task)
    return policy is not None and any(node.kind is Kind.STAGES for node in policy.nodes)


def groups_of(task: HumanTask) -> list[str]:
    """Return the groups that a question names, also those of its policy."""
    described, policy = task.described, policy_of(task)
    asked = () if described is None else described.groups
    parts = () if policy is None else leaves(policy)
    return list(dict.fromkeys([*asked, *(one.name for one in parts if one.kind is Kind.GROUP)]))


def groups_in_turn(task: HumanTask, now: int) -> list[str]:
    """Leave those of them whose answer is wanted now."""
    groups, policy = groups_of(task), policy_of(task)
    if policy is None or not groups:
        return groups
    progress = progress_of(task, now)
    members = {one: Person(user_id=None, user_name="", groups=frozenset({one})) for one in groups}
    return [one for one in groups if can_help(policy, members[one], progress)]


def person_of(task: HumanTask, capacity: Capacity) -> Person:
    """Return what the policy of a question knows of whom somebody answers for."""
    names = _Names.read([task.pk])[task.pk]
    policy = policy_of(task)
    return Person(**_known_of(capacity.principal, policy, names, capacity.only_groups))


def has_policy(task: HumanTask) -> bool:
    """Whether more than one answer may be needed."""
    return policy_of(task) is not None


def policy_of(task: HumanTask) -> Policy | None:
    """Return who has to answer together; None when one answer decides."""
    described = task.described
    return None if described is None else described.policy


class _Names(NamedTuple):
    """The names in a policy, by the id of the user or group that they were bound to.

    free: names of users and groups that nobody had when the question came, so the name decides.
    people: what people call the users, by the name in the policy.
    permissions: those of whom may answer.
    """

    users: dict[Any, str]
    groups: dict[Any, str]
    free: set[tuple[str, str]]
    people: dict[str, str]
    permissions: set[str]

    @classmethod
    def read(cls, tasks: Collection[str]) -> dict[str, Self]:
        """Return the names in each question. One query."""
        found = {pk: cls({}, {}, set(), {}, set()) for pk in tasks}
        named = Decider.objects.using(database_alias()).filter(task__in=list(tasks))
        for one in named.select_related("user"):
            names = found[one.task_id]
            if one.is_permission:
                names.permissions.add(one.name)
            elif one.is_unknown:
                names.free.add((one.kind, one.name))
            elif one.kind == Decider.Kind.USER:
                names.users[one.user_id] = one.name
                if one.user is not None:
                    names.people[one.name] = name_of(one.user)
            else:
                names.groups[one.group_id] = one.name
        return found

    def name_of_user(self, user: AbstractBaseUser) -> str:
        """Return by which name a policy means a user, whatever they are called by now."""
        name = user.get_username()
        return self.users.get(user.pk) or (name if (Decider.Kind.USER, name) in self.free else "")

    def names_of_groups(self, groups: Iterable[Any]) -> frozenset[str]:
        """Return by which names a policy means groups."""
        bound = {self.groups[one.pk] for one in groups if one.pk in self.groups}
        return frozenset(
            bound | {one.name for one in groups if (Decider.Kind.GROUP, one.name) in self.free}
        )


def _votes_on(tasks: Collection[str]) -> dict[str, list[Vote]]:
    """Return the newest answer of each person, of those that count. Two queries."""
    votes = Vote.objects.using(database_alias()).filter(task__in=list(tasks))
    users: dict[Any, Any] = {}
    found: dict[str, list[Vote]] = {}
    for vote in votes.order_by("voted_at", "pk").select_related("user", "cast_by"):
        if is_kept_up(vote):
            # One object for all votes of a person, so that their rights are looked up once.
            vote.user = users.setdefault(vote.user_id, vote.user)
            found.setdefault(vote.task_id, []).append(vote)
    prefetch_related_objects(list(users.values()), "groups")
    return found


def _ballot(vote: Vote, policy: Policy, names: _Names) -> Ballot:
    known = _known_of(vote.user, policy, names, vote.only_groups)
    return Ballot(
        **known,
        approves=vote.approves,
        at=vote.voted_at,
        comment=vote.comment,
        cast_by=vote.cast_by_name,
    )


def _known_of(
    user: Any, policy: Policy | None, names: _Names, only_groups: Collection[Any] | None = None
) -> Mapping[str, Any]:
    """Return what a policy asks of somebody; of ``only_groups`` when a deputy answers for these."""
    if only_groups is not None:
        groups = names.names_of_groups(one for one in user.groups.all() if one.pk in only_groups)
        return {
            "user_id": user.pk,
            "user_name": "",
            "groups": groups,
            "name": name_of(user),
            "is_asked": bool(groups),
        }
    asked = () if policy is None else leaves(policy)
    permissions = {leaf.name for leaf in asked if leaf.kind is Kind.PERMISSION}
    user_name, groups = names.name_of_user(user), names.names_of_groups(user.groups.all())
    # What takes looking up is looked up only where the policy asks for anyone.
    is_asked = bool(user_name or groups) or not any(leaf.kind is Kind.ANYONE for leaf in asked)
    return {
        "user_id": user.pk,
        "user_name": user_name,
        "groups": groups,
        "permissions": frozenset(name for name in permissions if user.has_perm(name)),
        "name": name_of(user),
        "is_asked": is_asked or may_settle_any(user) or any(map(user.has_perm, names.permissions)),
    }


def _others(
    task: HumanTask, policy: Policy, names: _Names, ballots: Collection[Ballot]
) -> list[Person] | None:
    """Return who may still answer, where it matters and is known."""
    matters = policy.rejections is None and not all(one.approves for one in ballots)
    if not matters or names.free:  # who gets a name that nobody has yet cannot be known
        return None
    users = list(recipients_of(task))
    prefetch_related_objects(users, "groups")
    return [Person(**_known_of(user, policy, names)) for user in users]
