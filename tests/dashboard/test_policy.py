from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dashboard.descriptions.policy import (
    Ballot,
    Kind,
    Person,
    Policy,
    Progress,
    can_help,
    counts,
    evaluate,
    leaves,
    read_policy,
)
from dashboard.descriptions.policy.reading import MAX_DEPTH, MAX_NODES, MAX_PEOPLE
from dashboard.descriptions.reading import DescriptionError
from tests.dashboard.policies import (
    HOUR,
    PEOPLE,
    Oracle,
    any_policy,
    ballot,
    ballots,
    person,
    somebody,
)

FINANCE_AND_LEGAL = {"all_of": [{"group": "finance"}, {"group": "legal"}]}
ALL_VOTES = [
    dict(zip(PEOPLE, said, strict=True)) for said in product([None, True, False], repeat=4)
]


def read(policy: Any) -> Policy:
    return read_policy(policy, "policy")


def count(policy: Any, *votes: Ballot, now: int = 0, **more: Any) -> Progress:
    return evaluate(read(policy), votes, created_at=0, now=now, **more)


def verdict(policy: Any, *votes: Ballot, **more: Any) -> str | None:
    return count(policy, *votes, **more).verdict


def yes(*names: str) -> list[Ballot]:
    return [ballot(name) for name in names]


def no(name: str) -> Ballot:
    return ballot(name, approves=False)


def lines(progress: Progress) -> list[tuple[str, int, list[str], bool]]:
    return [
        (one.label, one.depth, [who.user_name for who in one.filled_by], one.is_done)
        for one in progress.requirements
    ]


def mistake(policy: Any) -> str:
    with pytest.raises(DescriptionError) as caught:
        read(policy)
    return str(caught.value)


# Against trying everything


@pytest.mark.parametrize("batch", range(10))
def test_votes_count_as_when_every_assignment_is_tried(batch: int):
    """Ten times 25 policies, each with all ways in which four people can vote, early and late."""
    tried, number = 0, batch * 1000
    seen: set[str | None] = set()
    while tried < 25:
        number += 1
        policy = any_policy(Random(number))
        try:
            parsed = read(policy)
        except DescriptionError:
            continue
        tried += 1
        for now in (HOUR - 1, HOUR):
            oracle = Oracle(policy, now)
            for votes in ALL_VOTES:
                others = [person(name) for name, said in votes.items() if said is None]
                found = evaluate(parsed, ballots(votes), created_at=0, now=now, others=others)
                assert found.verdict == oracle.verdict(votes), (policy, votes, now)
                seen.add(found.verdict)
    assert seen == {None, "approved", "rejected"}


@st.composite
def voted_policies(draw: st.DrawFn) -> tuple[Policy, list[Ballot]]:
    policy = any_policy(draw(st.randoms(use_true_random=False)))
    try:
        parsed = read(policy)
    except DescriptionError:
        assume(False)
        raise
    said = draw(st.fixed_dictionaries(dict.fromkeys(PEOPLE, st.sampled_from([None, True, False]))))
    return parsed, ballots(said)


@given(voted_policies(), st.randoms(use_true_random=False))
def test_order_of_votes_is_irrelevant(voted: tuple[Policy, list[Ballot]], random: Random):
    policy, votes = voted
    before = evaluate(policy, votes, created_at=0, now=0)
    random.shuffle(votes)

    assert evaluate(policy, votes, created_at=0, now=0) == before
    at_other_times = [
        ballot(one.user_name, approves=one.approves, at=at) for at, one in enumerate(votes)
    ]
    after = evaluate(policy, at_other_times, created_at=0, now=0)
    assert (after.verdict, after.approved, after.needed, after.open_leaves) == (
        before.verdict,
        before.approved,
        before.needed,
        before.open_leaves,
    )


@given(voted_policies(), st.sampled_from(list(PEOPLE)))
def test_another_approval_never_takes_an_approval_back(
    voted: tuple[Policy, list[Ballot]], name: str
):
    policy, votes = voted
    before = evaluate(policy, votes, created_at=0, now=HOUR)
    votes = [one for one in votes if one.user_name != name] + yes(name)
    after = evaluate(policy, votes, created_at=0, now=HOUR)

    if before.verdict == "approved":
        # What somebody said against it may count for more once a later stage is open.
        assert after.verdict == "approved" or after.objections


@given(voted_policies())
def test_nobody_fills_two_requirements(voted: tuple[Policy, list[Ballot]]):
    policy, votes = voted
    progress = evaluate(policy, votes, created_at=0, now=HOUR)

    filling = [who.user_id for one in progress.requirements for who in one.filled_by]
    assert len(filling) == len(set(filling))
    assert progress.approved <= len(filling) <= sum(one.approves for one in votes)
    assert all(len(one.filled_by) + one.missing == one.needed for one in _leaf_lines(progress))


@given(voted_policies())
def test_the_tree_is_done_when_it_is_approved(voted: tuple[Policy, list[Ballot]]):
    policy, votes = voted
    progress = evaluate(policy, votes, created_at=0, now=HOUR)

    assert progress.requirements[0].is_done is (progress.approved == progress.needed)
    if progress.verdict == "approved":
        assert progress.requirements[0].is_done
    if progress.verdict is None:
        assert not progress.requirements[0].is_done


@given(voted_policies())
def test_whoever_would_bring_it_forward_can_help(voted: tuple[Policy, list[Ballot]]):
    policy, votes = voted
    before = evaluate(policy, votes, created_at=0, now=HOUR)
    assume(before.verdict is None)
    for name in PEOPLE.keys() - {one.user_name for one in votes}:
        after = evaluate(policy, [*votes, ballot(name)], created_at=0, now=HOUR)
        if can_help(policy, person(name), before):
            assert counts(policy, person(name), before)
        else:
            assert (after.verdict, after.approved) == (before.verdict, before.approved)


def _leaf_lines(progress: Progress) -> list[Any]:
    return [
        one
        for one in progress.requirements
        if one.kind in {Kind.USER, Kind.GROUP, Kind.PERMISSION, Kind.ANYONE}
    ]


# What the words mean


def test_each_group_sends_somebody():
    assert verdict(FINANCE_AND_LEGAL, *yes("mia")) is None
    assert verdict(FINANCE_AND_LEGAL, *yes("mia", "ann")) == "approved"


def test_one_person_in_two_groups_is_one_person():
    progress = count(FINANCE_AND_LEGAL, *yes("jon"))

    assert (progress.verdict, progress.approved, progress.needed) == (None, 1, 2)


def test_somebody_moves_on_when_that_makes_room():
    """Jon first stands for finance, and for legal as soon as Mia comes, who can only be finance."""
    assert lines(count(FINANCE_AND_LEGAL, *yes("jon"))) == [
        ("all of these", 0, [], False),
        ("finance", 1, ["jon"], True),
        ("legal", 1, [], False),
    ]
    assert lines(count(FINANCE_AND_LEGAL, *yes("jon", "mia"))) == [
        ("all of these", 0, [], True),
        ("finance", 1, ["mia"], True),
        ("legal", 1, ["jon"], True),
    ]


def test_a_group_may_have_to_send_two():
    policy = {"group": "finance", "count": 2}

    assert verdict(policy, *yes("mia", "ann")) is None
    assert verdict(policy, *yes("mia", "jon")) == "approved"
    [line] = count(policy, *yes("mia")).requirements
    assert (line.label, line.needed, line.missing) == ("2 of finance", 2, 1)


def test_any_of_takes_one():
    policy = {"any_of": [{"user": "mia"}, {"permission": "shop.pay"}]}

    assert verdict(policy, *yes("ann")) is None
    assert verdict(policy, *yes("bob")) == "approved"


def test_n_of_takes_so_many():
    policy = {"n_of": 2, "of": [{"user": "mia"}, {"user": "jon"}, {"user": "ann"}]}

    progress = count(policy, *yes("ann"))
    assert (progress.verdict, progress.approved, progress.needed) == (None, 1, 2)
    assert [leaf.name for leaf in progress.open_leaves] == ["mia", "jon"]
    assert verdict(policy, *yes("ann", "jon")) == "approved"


def test_parts_of_a_choice_may_need_several_people():
    pairs = [
        {"all_of": [{"user": "mia"}, {"user": "jon"}]},
        {"all_of": [{"user": "ann"}, {"user": "bob"}]},
    ]
    progress = count({"any_of": pairs}, *yes("mia", "ann"))

    assert (progress.verdict, progress.approved, progress.needed) == (None, 1, 2)
    assert [leaf.name for leaf in progress.open_leaves] == ["jon", "bob"]
    assert [line.filled_by[0].user_name for line in _leaf_lines(progress) if line.filled_by] == [
        "mia",
        "ann",
    ]
    assert verdict({"any_of": pairs}, *yes("mia", "ann", "bob")) == "approved"


def test_what_is_chosen_makes_the_rest_needless():
    policy = {"all_of": [{"any_of": [{"user": "mia"}, {"user": "jon"}]}, {"user": "ann"}]}
    progress = count(policy, *yes("mia"))

    assert [(one.label, one.is_done, one.is_moot) for one in progress.requirements] == [
        ("all of these", False, False),
        ("any of these", True, False),
        ("mia", True, False),
        ("jon", False, True),
        ("ann", False, False),
    ]


def test_weights_add_up():
    of = [
        {"weight": 3, "user": "mia"},
        {"weight": 2, "user": "jon"},
        {"weight": 2, "all_of": [{"user": "ann"}, {"user": "bob"}]},
    ]
    policy = {"weight": 5, "of": of}

    assert verdict(policy, *yes("mia", "ann")) is None
    assert verdict(policy, *yes("jon", "ann", "bob")) is None
    assert verdict(policy, *yes("mia", "jon")) == "approved"
    assert verdict(policy, *yes("mia", "ann", "bob")) == "approved"
    progress = count(policy, *yes("mia"))
    top, first, *_ = progress.requirements
    assert (top.label, top.needed, top.missing) == ("these, together a weight of 5", 5, 2)
    assert first.weight == 3


def test_a_stage_opens_when_those_before_are_fulfilled():
    policy = {"stages": [{"group": "legal"}, {"any_of": [{"user": "mia"}, {"user": "bob"}]}]}
    parsed = read(policy)

    before = count(policy)
    assert [leaf.name for leaf in before.open_leaves] == ["legal"]
    assert not can_help(parsed, person("mia"), before)
    assert not counts(parsed, person("mia"), before)
    assert [line.is_active for line in before.requirements] == [True, True, False, False, False]
    between = count(policy, *yes("ann"))
    assert [leaf.name for leaf in between.open_leaves] == ["mia", "bob"]
    assert can_help(parsed, person("mia"), between)
    assert verdict(policy, *yes("ann", "bob")) == "approved"


def test_a_vote_before_its_stage_waits_for_it():
    policy = {"stages": [{"user": "mia"}, {"user": "jon"}]}

    early = count(policy, *yes("jon"))
    assert (early.approved, lines(early)[2]) == (0, ("jon", 1, [], False))
    assert verdict(policy, no("jon")) is None
    assert verdict(policy, *yes("mia", "jon")) == "approved"
    assert verdict(policy, no("jon"), *yes("mia")) == "rejected"


def test_a_stage_closes_again_when_somebody_changes_their_mind():
    policy = {"stages": [{"user": "mia"}, {"user": "jon"}], "reject": "impossible"}

    assert [leaf.name for leaf in count(policy, *yes("mia")).open_leaves] == ["jon"]
    assert count({**policy, "reject": {"count": 2}}, no("mia")).open_leaves[0].name == "mia"


def test_a_fallback_opens_at_its_millisecond():
    policy = {"any_of": [{"user": "mia"}, {"user": "bob", "after": "PT4H"}]}
    parsed = read(policy)
    opens_at = 1_000 + 4 * HOUR

    before = evaluate(parsed, yes("bob"), created_at=1_000, now=opens_at - 1)
    assert (before.verdict, before.next_change_at) == (None, opens_at)
    assert before.requirements[2].opens_at == opens_at
    assert [leaf.name for leaf in before.open_leaves] == ["mia"]
    assert (before.approved, before.needed) == (0, 1)
    after = evaluate(parsed, yes("bob"), created_at=1_000, now=opens_at)
    assert (after.verdict, after.next_change_at) == ("approved", None)
    waiting = evaluate(parsed, [], created_at=1_000, now=opens_at)
    assert (waiting.next_change_at, waiting.requirements[2].opens_at) == (None, None)


def test_what_is_below_waits_as_long_as_what_is_above():
    inner = {"any_of": [{"user": "mia", "after": "PT1H"}, {"user": "jon"}], "after": "PT2H"}
    progress = count({"any_of": [{"user": "ann"}, inner]}, now=HOUR)

    assert [line.opens_at for line in progress.requirements] == [None, None, *[2 * HOUR] * 3]
    assert progress.next_change_at == 2 * HOUR


def test_the_next_change_is_the_first():
    policy = {
        "any_of": [
            {"user": "mia", "after": "P1D"},
            {"user": "jon", "after": "PT1H"},
            {"user": "ann"},
        ]
    }

    assert count(policy).next_change_at == HOUR
    assert count(policy, now=HOUR).next_change_at == 24 * HOUR
    assert count(policy, now=24 * HOUR).next_change_at is None


def test_the_number_needed_is_of_a_way_that_can_be_gone_now():
    pair = {"all_of": [{"user": "mia"}, {"user": "jon"}]}
    policy = {"any_of": [{"user": "bob", "after": "PT1H"}, pair]}

    assert (count(policy).approved, count(policy).needed) == (0, 2)
    assert (count(policy, now=HOUR).approved, count(policy, now=HOUR).needed) == (0, 1)


@pytest.mark.parametrize("name", ["jon", "ann"])
def test_a_veto_rejects_at_once(name):
    policy = {"user": "mia", "reject": "impossible", "veto": [{"group": "legal"}]}
    parsed = read(policy)

    progress = count(policy, no(name))
    assert progress.verdict == "rejected"
    assert [one.user_name for one in progress.objections] == [name]
    assert verdict(policy, no(name), *yes("mia")) == "rejected"
    assert verdict(policy, *yes(name)) is None
    assert can_help(parsed, person(name), count(policy))
    assert [leaf.name for leaf in leaves(parsed)] == ["mia", "legal"]


def test_any_rejection_rejects_if_not_said_otherwise():
    policy = {"n_of": 1, "of": [{"user": "mia"}, {"user": "jon"}]}

    assert verdict(policy, no("mia")) == "rejected"
    assert verdict({**policy, "reject": "any"}, no("mia")) == "rejected"


def test_a_rejection_by_somebody_who_is_not_asked_counts_for_nothing():
    progress = count({"user": "mia"}, no("bob"))

    assert (progress.verdict, progress.objections) == (None, ())


def test_rejections_may_be_counted():
    policy = {"anyone": True, "count": 4, "reject": {"count": 2}}

    assert verdict(policy, no("mia"), *yes("ann")) is None
    assert verdict(policy, no("mia"), no("bob"), *yes("ann")) == "rejected"


def test_rejected_when_the_named_cannot_approve_any_more():
    policy = {"n_of": 2, "of": [{"user": "mia"}, {"user": "jon"}, {"user": "ann"}]}
    policy["reject"] = "impossible"

    assert verdict(policy, no("mia")) is None
    assert verdict(policy, no("mia"), no("jon")) == "rejected"


def test_a_group_is_large_enough_unless_it_is_known_who_is_left():
    policy = {"group": "finance", "count": 2, "reject": "impossible"}

    assert verdict(policy, no("mia")) is None
    assert verdict(policy, no("mia"), others=[person("jon")]) == "rejected"
    assert verdict(policy, no("mia"), others=[person("jon"), Person(**OTTO)]) is None


OTTO = somebody("otto", ["finance"])


def test_who_rejected_stands_where_they_were_asked():
    policy = {"all_of": [{"user": "mia"}, {"group": "finance"}], "reject": {"count": 2}}
    progress = count(policy, no("mia"), *yes("jon"))

    assert [[who.user_name for who in one.rejected_by] for one in progress.requirements] == [
        [],
        ["mia"],
        [],
    ]


def test_only_the_newest_vote_of_a_person_counts():
    policy = {"group": "finance", "count": 2}
    twice = [ballot("mia", at=1), ballot("mia", at=2), ballot("jon", at=3)]

    assert count(policy, *twice[:2]).approved == 1
    assert verdict(policy, *twice, ballot("jon", approves=False, at=2)) == "approved"
    assert verdict(policy, *twice, ballot("jon", approves=False, at=4)) == "rejected"


def test_labels_are_the_authors_where_there_are_some():
    policy = {
        "all_of": [
            {"user": "mia", "label": "The boss"},
            {"permission": "shop.pay"},
            {"anyone": True},
            {"stages": [{"user": "ann"}]},
            {"n_of": 1, "of": [{"user": "bob"}]},
        ],
        "label": "Two of us",
    }

    assert [line.label for line in count(policy).requirements] == [
        "Two of us",
        "The boss",
        "those with the right shop.pay",
        "anyone who may answer",
        "one after the other",
        "ann",
        "1 of these",
        "bob",
    ]


def test_people_are_shown_by_their_names():
    named = Ballot(user_id=1, user_name="mia", name="Mia Berg", approves=True, at=1)

    assert [str(named), str(ballot("mia"))] == ["Mia Berg", "mia"]


# How much work it is


def test_fifty_people_and_fifty_requirements_are_no_puzzle():
    """Everybody is in all groups but one, and each of two halves takes any 25 of 50 groups."""
    groups = [f"g{number}" for number in range(50)]
    members = [
        Ballot(**somebody(f"p{number:02}", [one for one in groups if one != f"g{number}"]),
               approves=True, at=number)
        for number in range(50)
    ]  # fmt: skip
    halves = [
        {"n_of": 25, "of": [{"group": one} for one in groups[half::2] + groups[half::2][:22]]}
        for half in (0, 1)
    ]
    policy = {"all_of": halves}

    assert verdict(policy, *members) == "approved"
    assert count(policy, *members[:49]).approved == 49


def test_the_most_ways_that_are_allowed_are_no_puzzle_either():
    pairs = [{"all_of": [{"group": f"g{number}"}, {"group": f"h{number}"}]} for number in range(13)]
    policy = {"n_of": 2, "of": pairs}
    members = [
        Ballot(**somebody(f"p{number}", [f"g{one}" for one in range(13)]), approves=True, at=number)
        for number in range(50)
    ]

    assert len(read(policy).ways) == 78
    assert count(policy, *members).approved == 2
    assert verdict(policy, *members, *_pairing("h3", "h7")) == "approved"


def _pairing(*groups: str) -> list[Ballot]:
    return [Ballot(**somebody(one, [one]), approves=True, at=0) for one in groups]


def test_ten_thousand_counts_are_nothing_special():
    policy = read(
        {
            "stages": [
                {"all_of": [{"group": "finance", "count": 2}, {"group": "legal"}]},
                {"any_of": [{"user": "bob"}, {"permission": "shop.pay", "after": "PT4H"}]},
            ],
            "veto": [{"user": "ann"}],
        }
    )
    votes = yes("mia", "jon")

    for _ in range(10_000):
        progress = evaluate(policy, votes, created_at=0, now=0)
    assert (progress.approved, progress.needed) == (2, 4)


# Mistakes

KEYS = ("user", "group", "permission", "anyone", "all_of", "any_of", "stages", "of")


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ([], "policy: must be an object"),
        ({}, f"policy: must have one of {', '.join(KEYS)}"),
        ({"user": "mia", "group": "g"}, "policy: must not have both user and group"),
        ({"user": None}, "policy.user: is null"),
        ({"user": 7}, "policy.user: must be text"),
        ({"user": " "}, "policy.user: is empty"),
        ({"group": "g" * 255}, "policy.group: is longer than 254 characters"),
        ({"permission": "pay"}, "policy.permission: must be a permission like shop.approve_order"),
        ({"anyone": 1}, "policy.anyone: must be true"),
        ({"user": "mia", "count": 2}, "policy.count: has no meaning here"),
        ({"group": "g", "count": 0}, "policy.count: must be a whole number from 1 to 100"),
        ({"group": "g", "count": True}, "policy.count: must be a whole number from 1 to 100"),
        ({"user": "mia", "labl": "x"}, "policy.labl: has no meaning here"),
        ({"user": "mia", "label": ""}, "policy.label: is empty"),
        ({"user": "mia", "label": "x" * 101}, "policy.label: is longer than 100 characters"),
        (
            {"user": "mia", "after": "4h"},
            "policy.after: must be a length of time like PT4H or P1DT12H",
        ),
        (
            {"user": "mia", "after": 4},
            "policy.after: must be a length of time like PT4H or P1DT12H",
        ),
        (
            {"user": "mia", "weight": 2},
            "policy.weight: has a meaning only in a list by weight",
        ),
        ({"all_of": {}}, "policy.all_of: must be a list"),
        ({"all_of": []}, "policy.all_of: is empty"),
        ({"any_of": ["mia"]}, "policy.any_of[0]: must be an object"),
        (
            {"all_of": [{"user": "mia"}, {"any_of": [{"group": ""}]}]},
            "policy.all_of[1].any_of[0].group: is empty",
        ),
        (
            {"all_of": [{"user": "mia", "veto": [{"user": "jon"}]}]},
            "policy.all_of[0].veto: belongs to the whole policy",
        ),
        ({"all_of": [{"user": "a"}], "n_of": 1}, "policy.n_of: has no meaning here"),
        ({"of": [{"user": "mia"}]}, "policy: must have n_of or weight beside of"),
        ({"n_of": 1}, f"policy: must have one of {', '.join(KEYS)}"),
        (
            {"n_of": 2, "of": [{"user": "mia"}]},
            "policy.n_of: must be a whole number from 1 to 1",
        ),
        (
            {"weight": 3, "of": [{"weight": 2, "user": "mia"}]},
            "policy.weight: must be a whole number from 1 to 2",
        ),
        ({"weight": 1, "of": [{"user": "mia"}]}, "policy.of[0].weight: is missing"),
        (
            {"weight": 1, "of": [{"weight": 1001, "user": "mia"}]},
            "policy.of[0].weight: must be a whole number from 1 to 1000",
        ),
        (
            {"weight": 1, "of": [{"weight": 1, "of": [{"weight": 1, "user": "mia"}]}]},
            "policy.of[0].of: is a list by weight in another: put it into all_of",
        ),
        (
            {"weight": 1, "n_of": 1, "of": [{"user": "mia"}]},
            "policy.weight: has a meaning only in a list by weight",
        ),
        (
            {"user": "mia", "distinct": False},
            "policy.distinct: must be true: a person always counts once",
        ),
        (
            {"user": "mia", "reject": "never"},
            'policy.reject: must be "any", "impossible" or like {"count": 2}',
        ),
        (
            {"user": "mia", "reject": {"count": 2, "of": 3}},
            'policy.reject: must be "any", "impossible" or like {"count": 2}',
        ),
        (
            {"user": "mia", "reject": {"count": 0}},
            "policy.reject.count: must be a whole number from 1 to 100",
        ),
        ({"user": "mia", "veto": []}, "policy.veto: must have 1 to 20 entries"),
        ({"user": "mia", "veto": [{"user": "a"}] * 21}, "policy.veto: must have 1 to 20 entries"),
        ({"user": "mia", "veto": {"user": "a"}}, "policy.veto: must be a list"),
        ({"user": "mia", "veto": ["a"]}, "policy.veto[0]: must be an object"),
        (
            {"user": "mia", "veto": [{"all_of": []}]},
            "policy.veto[0]: must have one of user, group, permission, anyone",
        ),
        (
            {"user": "mia", "veto": [{"group": "g", "count": 2}]},
            "policy.veto[0].count: has no meaning here",
        ),
        (
            {"all_of": [{"user": "mia"}, {"user": "mia"}]},
            "policy: can never be fulfilled, since each person counts once",
        ),
        (
            {"any_of": [{"group": f"g{number}"} for number in range(MAX_NODES)]},
            "policy.any_of[99]: comes after 100 others, which is the most",
        ),
        (
            {"all_of": [{"anyone": True, "count": MAX_PEOPLE}, {"user": "mia"}]},
            "policy.all_of[1]: makes it more than 100 people in all",
        ),
        (
            {"n_of": 3, "of": [{"group": f"g{number}", "count": 2} for number in range(20)]},
            "policy: can be fulfilled in more than 100 ways: choose between smaller parts",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_path(policy: Any, problem: str):
    assert mistake(policy) == problem


def test_a_policy_is_not_too_deep():
    def nested(depth: int) -> Any:
        return {"user": "mia"} if depth == 1 else {"all_of": [nested(depth - 1)]}

    assert len(read(nested(MAX_DEPTH)).nodes) == MAX_DEPTH
    path = ".all_of[0]" * MAX_DEPTH
    assert mistake(nested(MAX_DEPTH + 1)) == f"policy{path}: is nested more than {MAX_DEPTH} deep"


@pytest.mark.parametrize(
    ("text", "hours"),
    [("PT4H", 4), ("P1D", 24), ("P1W", 168), ("P1DT12H", 36), ("PT90M", 1.5), ("PT1800S", 0.5)],
)
def test_lengths_of_time(text: str, hours: float):
    assert read({"user": "mia", "after": text}).root.after == hours * HOUR


@pytest.mark.parametrize("text", ["P", "PT", "P1M", "P1Y", "-PT1H", "PT1.5H", "PT1H ", "pt1h", ""])
def test_other_lengths_of_time_are_refused(text: str):
    assert mistake({"user": "mia", "after": text}).startswith("policy.after: must be a length")
