"""A language in which every text of the catalogues is marked, and what is found without a mark."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import django
from django.apps import apps
from django.conf.locale import LANG_INFO

from scripts import messages
from scripts.messages import Catalogue, Key

LANGUAGE = "xx"
RIGHT_TO_LEFT = "xh"

ACCENTED = str.maketrans("aceinouyACEINOSUYZ", "áçéíñöûýÁÇÉÍÑÖŠÛÝŽ")
HEBREW = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "אבגדהוזחטיךכלםמןנסעףפץצקרש" * 2,
)
KEPT = re.compile(r"%(?:\(\w+\))?[a-zA-Z%]|\{[\w.]*\}|<[^>]*>|&\w+;|https?://\S+")
"""Placeholders, elements and addresses: they stay as they are."""

DATES = "date format"
"""The context of texts that are patterns, not words."""


def install(settings: Any, patch: Any, folder: Path, *, right_to_left: bool = False) -> str:
    """Make the language known to the site; returns its code."""
    code = RIGHT_TO_LEFT if right_to_left else LANGUAGE
    place = folder / code / "LC_MESSAGES"
    place.mkdir(parents=True)
    (place / "django.mo").write_bytes(_compiled(right_to_left=right_to_left))
    known = {"bidi": right_to_left, "code": code, "name": code, "name_local": f"[{code}]"}
    patch.setitem(LANG_INFO, code, known)
    settings.LOCALE_PATHS = [str(folder)]
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch"), (code, code)]
    if right_to_left:
        settings.LANGUAGES_BIDI = [code]
    return code


@cache
def _compiled(*, right_to_left: bool) -> bytes:
    return messages.compile_messages(make(HEBREW if right_to_left else ACCENTED))


def make(letters: Mapping[int, int | str]) -> Catalogue:
    """The catalogue: every text of ours and of Django, in brackets and other letters."""
    found = messages.extract()
    for path in Path(django.__file__).parent.glob("**/locale/de/LC_MESSAGES/django.po"):
        found = messages.read(path.read_text()).messages | found
    header = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n"
    made = {
        key: replace(
            message,
            is_fuzzy=False,
            translations=tuple(
                mark(text, letters) for text in (key.text, message.plural) if text is not None
            ),
        )
        for key, message in found.items()
        if not _is_pattern(key)
    }
    return Catalogue("", header, made)


def mark(text: str, letters: Mapping[int, int | str] = ACCENTED) -> str:
    """A text in brackets, with other letters; placeholders stay."""
    pieces, place = [], 0
    for kept in KEPT.finditer(text):
        pieces += [text[place : kept.start()].translate(letters), kept[0]]
        place = kept.end()
    # Blanks at both ends join texts; they stay outside.
    inner = "".join([*pieces, text[place:].translate(letters)])
    bare = inner.strip()
    return inner.replace(bare, f"[{bare}]") if bare else inner


def _is_pattern(key: Key) -> bool:
    return key.context == DATES or key.text in {"ltr", "rtl"}


# --- Reading pages ---

INLINE = {
    *("a", "abbr", "b", "bdi", "br", "cite", "code", "em", "i", "kbd", "samp", "small", "span"),
    *("strong", "time", "u"),
}
NOT_WORDS = {"code", "kbd", "pre", "samp", "script", "style", "textarea"}
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
SPOKEN = {"alt", "aria-description", "aria-label", "label", "placeholder", "title"}
SEAM = "\N{WORD JOINER}"
"""Stands where an element begins or ends within a text."""
STRING = re.compile(r"""["'`]([^"'`\n]*)["'`]""")
"""A string of a script."""
SENTENCE = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")


class Reader(HTMLParser):
    """Collects what people read or hear: texts by block, and attributes with words."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = [""]
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        is_data = given.get("translate") == "no" or (given.get("lang") == "en" and tag != "html")
        if not (is_data or self._is_silent()):
            self._listen(tag, given)
        self._part(tag)
        if tag not in VOID:
            self._open.append((tag, is_data or tag in NOT_WORDS))
        if tag in NOT_WORDS and not self._is_silent(but=1):
            self.texts[-1] += "\N{OBJECT REPLACEMENT CHARACTER}"

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        self._part(tag)

    def handle_data(self, data: str) -> None:
        if not self._is_silent():
            self.texts[-1] += data

    def _part(self, tag: str) -> None:
        if tag in INLINE:
            self.texts[-1] += SEAM
        else:
            self.texts.append("")

    def _is_silent(self, but: int = 0) -> bool:
        return any(silent for _tag, silent in self._open[: len(self._open) - but])

    def _listen(self, tag: str, given: Mapping[str, str]) -> None:
        heard = [value for name, value in given.items() if name in SPOKEN]
        heard += [
            value
            for name, value in given.items()
            if name.startswith("data-") and SENTENCE.search(value) and value[0] not in "{["
        ]
        if tag == "input" and given.get("type") in {"submit", "button"}:
            heard.append(given.get("value", ""))
        if given.get("hx-confirm"):
            heard.append(given["hx-confirm"])
        self.texts[-1:-1] = heard


def texts_of(page: str) -> list[str]:
    """The texts of a page, one for each block."""
    reader = Reader()
    reader.feed(page)
    return [" ".join(text.split()) for text in reader.texts if text.strip(f" \n{SEAM}")]


def unmarked(texts: Iterable[str], data: str) -> list[str]:
    """What has no brackets around it, has letters, and is not a part of the data."""
    found, data = [], data.casefold()
    for text in texts:
        for rest in re.split(r"\0|[^\w\s'.-]", outside(text)):
            phrase = rest.strip(" .-'")
            ways = (phrase, phrase.strip(" .-'0123456789"))  # a number may stand beside data
            if re.search(r"[A-Za-z]", phrase) and not any(is_within(one, data) for one in ways):
                found.append(text.replace(SEAM, ""))
    return found


def outside(text: str) -> str:
    """A text without what is in brackets, of which a null is left."""
    kept, depth = [], 0
    for letter in text:
        if letter == "[":
            depth += 1
        elif letter == "]" and depth:
            depth -= 1
            kept.append("" if depth else "\0")
        elif not depth:
            kept.append(letter)
    # A bracket that does not end hides nothing.
    return "".join(kept) if not depth else text


def is_within(phrase: str, data: str) -> bool:
    """Whether whole words of the data say this."""
    return re.search(rf"(?<!\w){re.escape(phrase.casefold())}(?!\w)", data) is not None


# --- What is data ---


def data_of_tables() -> str:
    """Every text in the database, one below the other."""
    texts: set[str] = set()
    for model in apps.get_models():
        if model._meta.app_label in {"auth", "contenttypes", "sessions"}:
            continue
        for row in model._base_manager.values():
            for value in row.values():
                texts.update(_strings(value))
    from django.contrib.auth.models import Group, User

    for user in User.objects.all():
        texts |= {user.username, user.get_full_name(), user.email}
    texts |= set(Group.objects.values_list("name", flat=True))
    return "\n".join(sorted(texts))


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
            yield from _inside(value)
        case dict():
            for key, one in value.items():
                yield str(key)
                yield from _strings(one)
        case list():
            for one in value:
                yield from _strings(one)
        case bytes() | memoryview():
            yield from _strings(bytes(value).decode(errors="replace"))
        case UUID():
            yield str(value)


def _inside(text: str) -> Iterator[str]:
    """Strings of JSON, and of a payload, which is base64 of JSON."""
    try:
        source = text if text.startswith("{") else base64.b64decode(text, validate=True)
        value = json.loads(source)
    except (binascii.Error, ValueError):
        return
    if isinstance(value, dict):
        yield from _strings(value)
