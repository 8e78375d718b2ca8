"""Addresses (protocol.md 6.1): poll addresses, and the group that a target names."""

import pytest

from durable.protocol.addresses import PollAddress, group_of, parse_poll, target_of


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("poll://any@g", PollAddress("any", "g", "")),
        ("poll://any@g/p", PollAddress("any", "g", "p")),
        ("poll://uni@g/p", PollAddress("uni", "g", "p")),
        ("poll://uni@g%2Fh/a%20b", PollAddress("uni", "g/h", "a b")),
        ("poll://uni@g", None),
        ("poll://uni@g/", None),
        ("poll://any@", None),
        ("poll://any@/p", None),
        ("poll://all@g", None),
        ("poll://g", None),
        ("http://any@g", None),
        ("g", None),
    ],
)
def test_poll_addresses(address: str, expected: PollAddress | None) -> None:
    assert parse_poll(address) == expected


@pytest.mark.parametrize(
    ("target", "group"),
    [
        ("workers", "workers"),
        ("poll://any@workers", "workers"),
        ("poll://any@workers/p", "workers"),
        ("poll://uni@workers/p", None),
        ("https://example.org", None),
        ("", None),
    ],
)
def test_groups_of_targets(target: str, group: str | None) -> None:
    assert group_of(target) == group


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("workers", "poll://any@workers"),
        ("poll://uni@g/p", "poll://uni@g/p"),
        ("https://example.org", "https://example.org"),
    ],
)
def test_targets_of_groups(given: str, expected: str) -> None:
    assert target_of(given) == expected
