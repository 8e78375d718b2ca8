import datetime as dt

import pytest
from django.template import Context, RequestContext, Template
from django.test import RequestFactory

from dashboard import payloads
from dashboard.states import Status
from dashboard.templatetags import signoff_format as tags
from tests.dashboard.people import pack

NOW = 1_764_000_000_000
S, MIN, H, D = 1000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1 s"),
        (1240, "1.2 s"),
        (9960, "10 s"),
        (59 * S, "59 s"),
        (60 * S, "1 min"),
        (200 * S, "3 min 20 s"),
        (H, "1 h"),
        (D + 3 * H + 59 * MIN, "1 d 3 h"),
        (40 * D, "40 d"),
        (-5, "0 ms"),
        (None, ""),
    ],
)
def test_duration_has_two_units_at_most(length, text):
    assert tags.duration(length) == text


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (0, "just now"),
        (-4 * S, "just now"),
        (-5 * S, "5 s ago"),
        (-3 * MIN, "3 min ago"),
        (2 * H + MIN, "in 2 h"),
        (-9 * D, "9 d ago"),
    ],
)
def test_relative_time(distance, text):
    assert tags.relative(NOW + distance, NOW) == text


def test_moment_has_the_absolute_time_in_its_tooltip():
    assert tags.moment(NOW, NOW + 3 * MIN) == (
        '<time datetime="2025-11-24T16:00:00.000+00:00" title="2025-11-24 16:00:00 UTC"'
        ' data-form="relative">3 min ago</time>'
    )


def test_clock_follows_the_time_zone_of_the_site(settings):
    settings.TIME_ZONE = "Europe/Berlin"

    assert ">24 Nov 2025, 17:00<" in tags.clock(NOW)
    assert ">24 Nov 2025, 17:00:00<" in tags.clock(NOW, "second")


def test_clock_leaves_out_this_year():
    today = dt.datetime.now(dt.UTC).replace(hour=12, minute=5)

    assert f">{today.day} {today:%b}, 12:05<" in tags.clock(int(today.timestamp() * 1000))


def test_far_deadline_is_none():
    assert tags.clock(2**53 - 1) == tags.moment(2**53 - 1) == "never"
    assert tags.is_never(2**53 - 1)
    assert not tags.is_never(NOW)


@pytest.mark.parametrize("status", list(Status))
def test_chip_says_the_state_with_mark_and_word(status):
    chip = tags.chip(status)

    assert f"marks.svg#{status.mark}" in chip
    assert f"<span>{status.label}</span>" in chip


def test_icon_is_decoration_unless_it_has_a_label():
    assert 'aria-hidden="true"' in tags.icon("inbox")
    assert 'role="img" aria-label="Failed"' in tags.icon("failed", "Failed")


def test_long_id_keeps_both_ends():
    assert tags.cut_middle("order-42") == "order-42"
    assert tags.cut_middle("payout-2026-11-24-acme-000131", 16) == "payout-202…00131"


def render_payload(value):
    return tags.payload(payloads.decode(pack(value)))


def test_json_is_a_tree_of_details():
    html = render_payload({"customer": {"tags": ["b2b"], "vip": True}})

    assert html.count("<details open>") == 2
    assert html.count("<details>") == 1
    assert "<li><b>customer</b>: " in html
    assert "<summary>1 item</summary>" in html
    assert '<span class="json-text">&quot;b2b&quot;</span>' in html
    assert '<span class="json-atom">true</span>' in html


def test_payload_is_escaped():
    html = render_payload({"<b>": "<script>alert(1)</script>"})

    assert "<script>" not in html
    assert "<b>&lt;b&gt;</b>" in html


def test_long_strings_are_cut():
    html = render_payload("x" * 5000)

    assert "x" * 2000 + "…" in html
    assert "x" * 2001 not in html
    assert "(5,000 characters)" in html


def test_wide_values_are_cut():
    assert render_payload(list(range(50_000))).count("json-atom") < 2500


def test_deep_values_are_cut():
    value = []
    for _ in range(100):
        value = [value]

    assert render_payload(value).count("<details") == tags.MAX_DEPTH


def test_what_is_no_json_is_shown_as_it_is():
    assert tags.payload(payloads.decode("echo <hello>")) == (
        '<pre class="raw">echo &lt;hello&gt;</pre>'
    )
    assert "nothing" in tags.payload(payloads.decode(""))


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("done", "done"),
        ({"a": [1, 2]}, '{"a": [1, 2]}'),
        (None, ""),
        ("a\n  b", "a b"),
        ("x" * 200, "x" * 89 + "…"),
    ],
)
def test_preview_is_one_line(value, line):
    assert payloads.preview(pack(value)) == line


def test_preview_of_a_beginning_shows_it():
    whole = pack({"text": "y" * 5000})

    assert payloads.preview(whole[: payloads.PREVIEW_SOURCE]).startswith('{"text": "yyy')


def test_preview_of_an_error_is_its_name_and_message():
    error = pack({"__type": "error", "name": "HTTPError", "message": "503", "stack": "…"})

    assert payloads.preview(error, is_error=True) == "HTTPError: 503"


@pytest.mark.parametrize(
    ("value", "failure"),
    [
        ({"name": "E", "message": "m", "stack": "s"}, ("E", "m", "s")),
        ({"message": "m"}, ("Failed", "m", "")),
        ({"code": 7}, ("Failed", '{"code": 7}', "")),
        ("no", ("Failed", '"no"', "")),
        (None, ("Failed", "", "")),
    ],
)
def test_failure_is_read_from_any_sdk(value, failure):
    assert payloads.failure_of(payloads.decode(pack(value))) == failure


def test_huge_payload_is_not_decoded():
    payload = payloads.decode("A" * (payloads.MAX_DECODED + 1))

    assert not payload.is_json
    assert len(payload.text) < 3000


def test_theme_is_what_the_cookie_says():
    request = RequestFactory().get("/")
    template = Template("{% load signoff_format %}[{% theme %}]")
    for cookie, theme in (("dark", "dark"), ("light", "light"), ('"><x', ""), ("", "")):
        request.COOKIES["signoff_theme"] = cookie
        assert template.render(RequestContext(request)) == f"[{theme}]"
    assert template.render(Context()) == "[]"
