import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.descriptions.patterns import MAX_PATTERN, Pattern, PatternError

pieces = st.sampled_from(
    ["a", "b", ".", r"\d", r"\w", "[ab]", "[^a]", "[0-9b]", r"\.", "^", "$", r"\b"]
)


def joined(inner):
    repeatable = inner.map(lambda text: f"(?:{text})")
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda ways: f"({'|'.join(ways)})"),
        st.builds(
            lambda text, sign: text + sign,
            repeatable,
            st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?", "+?"]),
        ),
    )


patterns = st.recursive(pieces, joined, max_leaves=8)


@given(patterns, st.text("ab1. ", max_size=8))
def test_matches_what_python_matches(pattern, text):
    # Python's $ also matches before a last newline, of which there is none here.
    assert Pattern(pattern).search(text) is bool(re.search(pattern, text, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"^[a-z]+(-[a-z]+)*$", "a-slug-of-words", True),
        (r"^[a-z]+(-[a-z]+)*$", "a-slug-", False),
        (r"^\u0041\x42$", "AB", True),
        (r"^[\w-]+@[\w.]+$", "mia-k@example.org", True),
        (r"^[^\d\S]$", " ", True),
        (r"^[\D]$", "5", False),
        (r"^[\b]$", "\b", True),
        (r"\n\t\r\f\v\0", "\n\t\r\f\v\0", True),
        (r"^.$", "\n", False),
        (r"^\s$", "\u2028", True),
        (r"^\d$", "٣", False),
        (r"a$", "a\n", False),
        (r"[]", "a", False),
        (r"[^]", "a", True),
        (r"^[a-]$", "-", True),
        (r"\B", "a", False),
        ("", "", True),
    ],
)
def test_matches_as_ecma_script_does(pattern, text, matches):
    assert Pattern(pattern).search(text) is matches


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*)(.*)(.*)(.*)=$"])
def test_time_grows_only_with_the_text(pattern):
    compiled = Pattern(pattern)

    assert not compiled.search("a" * 1000 + "!")
    assert compiled.cost("a" * 1000) < 50_000


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a" * (MAX_PATTERN + 1), "is longer than 500 characters"),
        ("(a{1000}){1000}", "is too large"),
        ("(" * 21 + ")" * 21, "is nested more than 20 deep"),
        ("(?=a)", "looks around or sets options, which is not supported"),
        ("(?<n>a)", "looks around or sets options, which is not supported"),
        (r"(a)\1", r"has a \1, which is not supported"),
        (r"\p{L}", r"has a \p, which is not supported"),
        (r"\xZZ", r"has a \x without digits"),
        ("(a", "has a group that does not end"),
        ("a)", "has an unexpected ')'"),
        ("*a", "has an unexpected '*'"),
        ("a**", "repeats a repeat"),
        ("^*", "repeats a place that takes no character"),
        ("a{x}", r"has a { that counts nothing; write \{ for the character"),
        ("a{2", r"has a { that counts nothing; write \{ for the character"),
        ("a{3,2}", "counts backwards"),
        ("[z-a]", "has a range that runs backwards"),
        (r"[a-\d]", "has a range that runs backwards"),
        ("[a", "ends too early"),
        ("\\", "ends too early"),
    ],
)
def test_pattern_that_is_not_supported_says_why(pattern, problem):
    with pytest.raises(PatternError) as caught:
        Pattern(pattern)

    assert str(caught.value) == problem
