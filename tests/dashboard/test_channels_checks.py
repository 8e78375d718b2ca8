"""What the system check says of wrong channels."""

import pytest

from dashboard.channels.base import channels
from dashboard.channels.checks import check_channels

SLACK = {"channel": "slack", "token": "t", "signing_secret": "s", "room": "#r"}


def said(settings, entries, base_url="https://signoff.example.com"):
    settings.SIGNOFF_CHANNELS = entries
    settings.SIGNOFF_BASE_URL = base_url
    return [(one.id, one.msg, one.hint) for one in check_channels(None)]


def test_right_channels_are_open(settings):
    entries = [
        {"channel": "mail", "from": "a@example.com"},
        SLACK | {"rooms": {}, "direct": True},
        SLACK | {"name": "second"},
        {"channel": "webhook", "url": "https://example.com", "secret": "s"},
    ]
    assert said(settings, entries) == []
    assert [one.name for one in channels()] == ["mail", "slack", "second", "webhook"]
    assert said(settings, [], base_url="") == []


@pytest.mark.parametrize("setting", ["mail", SLACK])
def test_the_setting_is_a_list(settings, setting):
    assert said(settings, setting) == [
        (
            "signoff.E040",
            f"SIGNOFF_CHANNELS is of the type {type(setting).__name__}, and no list.",
            'Set it to a list of dictionaries, as in [{"channel": "mail"}].',
        )
    ]


@pytest.mark.parametrize(
    ("entry", "problem", "hint"),
    [
        (
            {"chanel": "slack", "token": "xoxb-secret"},
            "SIGNOFF_CHANNELS holds an entry with chanel, token, which names no channel.",
            'Each entry is a dictionary like {"channel": "mail"}.',
        ),
        (
            "mail",
            "SIGNOFF_CHANNELS holds an entry of the type str, which names no channel.",
            'Each entry is a dictionary like {"channel": "mail"}.',
        ),
        (
            {"channel": "pigeon"},
            "SIGNOFF_CHANNELS names the channel 'pigeon', which does not exist.",
            "Use one of mail, slack, teams, webhook, or the dotted path of a class of yours.",
        ),
        (
            {"channel": "dashboard.models.Message"},
            "SIGNOFF_CHANNELS names 'dashboard.models.Message', which is no channel.",
            "Derive the class from dashboard.channels.base.Channel.",
        ),
    ],
)
def test_an_entry_names_a_channel(settings, entry, problem, hint):
    assert said(settings, [entry]) == [("signoff.E041", problem, hint)]
    assert channels() == []


def test_what_is_missing_closes_the_channel(settings):
    assert said(settings, [{"channel": "slack", "room": "#r"}]) == [
        (
            "signoff.E042",
            "The channel 'slack' of SIGNOFF_CHANNELS lacks token, signing_secret.",
            "Without it the channel is closed: nobody hears of anything there.",
        )
    ]
    assert channels() == []


def test_names_are_there_once(settings):
    assert said(settings, [SLACK, SLACK]) == [
        (
            "signoff.E043",
            "SIGNOFF_CHANNELS has more than one channel named 'slack'.",
            'Give each a "name" of its own.',
        )
    ]


@pytest.mark.parametrize("base_url", ["", "signoff.example.com", "ftp://x"])
def test_links_have_to_lead_somewhere(settings, base_url):
    assert said(settings, [{"channel": "mail"}], base_url) == [
        (
            "signoff.E044",
            "SIGNOFF_CHANNELS is set, and SIGNOFF_BASE_URL is no address that links can lead to.",
            "Set SIGNOFF_BASE_URL to where people reach this site: https://signoff.example.com",
        )
    ]


def test_options_that_mean_nothing_are_named(settings):
    assert said(settings, [{"channel": "mail", "form": "a@example.com"}]) == [
        (
            "signoff.W040",
            "The channel 'mail' of SIGNOFF_CHANNELS has options that mean nothing: form.",
            "It knows channel, from, name.",
        )
    ]
