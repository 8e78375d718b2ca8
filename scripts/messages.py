"""Brings dashboard/locale in line with the texts of code and templates.

python scripts/messages.py             adds new texts to each .po, drops old ones, writes the .mo
python scripts/messages.py --check     says what is missing, and changes nothing

Needs Django alone: GNU gettext may not be there where this runs.
"""

import argparse
import ast
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import django
from django.conf import settings
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[1]
LOCALE = ROOT / "dashboard" / "locale"
SOURCES = ("dashboard/**/*.py", "templates/**/*.html", "templates/**/*.txt")

# Which arguments of a call are texts: context, text, plural.
CALLS = {
    "gettext": (None, 0, None),
    "ngettext": (None, 0, 1),
    "pgettext": (0, 1, None),
    "npgettext": (0, 1, 2),
}
CALL = re.compile(r"\b(?P<name>n?p?gettext|_)\(")
LITERAL = re.compile(
    r"""\s*(?P<text>u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*")\s*(?P<end>[,)])""", re.DOTALL
)
PLACEHOLDER = re.compile(r"%\(\w+\)[a-zA-Z]|%[sd]")
LINE = re.compile(
    r'(?:(?P<key>msgctxt|msgid|msgid_plural|msgstr)(?:\[(?P<form>\d)\])? )?(?P<text>".*")'
)


class Key(NamedTuple):
    """What a catalogue finds a translation by."""

    text: str
    context: str | None = None


@dataclass(frozen=True)
class Message:
    """A text, its plural, its translations (one per form of the plural) and the files it is in."""

    key: Key
    plural: str | None = None
    translations: tuple[str, ...] = ()
    is_fuzzy: bool = False
    files: tuple[str, ...] = ()


@dataclass
class Catalogue:
    """A .po file: the comment at its head, its header entry and its messages."""

    comment: str = ""
    header: str = ""
    messages: dict[Key, Message] = field(default_factory=dict)


def main() -> int:
    """Write the catalogues, or print how they differ."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    found = extract()
    problems = [one for path in catalogues() for one in find_problems(path, found)]
    if not check:
        for path in catalogues():
            merged = merge(read(path.read_text()), found)
            path.write_text(write(merged))
            path.with_suffix(".mo").write_bytes(compile_messages(merged))
        problems = [one for path in catalogues() for one in find_problems(path, found)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def catalogues() -> list[Path]:
    """Every .po file of the dashboard."""
    return sorted(LOCALE.glob("*/LC_MESSAGES/django.po"))


def find_problems(path: Path, found: dict[Key, Message]) -> list[str]:
    """Differences between a .po file, its .mo file and the texts that were found."""
    name = path.relative_to(ROOT)
    catalogue = read(path.read_text())
    problems = [
        f"{name}: not in it: {key.text!r}. Run: make messages"
        for key, message in found.items()
        if key not in catalogue.messages or catalogue.messages[key].plural != message.plural
    ]
    problems += [
        f"{name}: nothing uses {key.text!r}. Run: make messages"
        for key in catalogue.messages
        if key not in found
    ]
    for key, message in catalogue.messages.items():
        problems += [f"{name}: {fault}: {key.text!r}" for fault in _faults(message)]
    compiled = path.with_suffix(".mo")
    if not compiled.is_file() or compiled.read_bytes() != compile_messages(catalogue):
        problems.append(f"{name}: the .mo file is of another .po file. Run: make messages")
    return problems


def _faults(message: Message) -> Iterator[str]:
    forms = 1 if message.plural is None else 2
    if message.is_fuzzy:
        yield "fuzzy"
    if len(message.translations) != forms or not all(message.translations):
        yield "not translated"
    texts = [message.key.text, message.plural or message.key.text]
    for translation, text in zip(message.translations, texts, strict=False):
        # A singular may name the number in words.
        wanted, given = set(PLACEHOLDER.findall(text)), set(PLACEHOLDER.findall(translation))
        if translation and wanted != given:
            yield f"placeholders differ ({' '.join(sorted(wanted ^ given))})"


# Finding texts


def extract(root: Path = ROOT) -> dict[Key, Message]:
    """Every text of code and templates that is marked for translation, by file and place."""
    # Reading templates asks for the charset of files.
    if not settings.configured:
        settings.configure()
        django.setup()
    found: dict[Key, Message] = {}
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        name = str(path.relative_to(root))
        source = path.read_text()
        texts = _in_code(source) if path.suffix == ".py" else _in_template(source, name)
        for message in texts:
            known = found.get(message.key, message)
            files = known.files if name in known.files else (*known.files, name)
            plural = known.plural or message.plural
            found[message.key] = replace(known, files=files, plural=plural)
    return found


def _in_code(source: str) -> Iterator[Message]:
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name: alias.name.removesuffix("_lazy").removesuffix("_noop")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts: list[object] = [
                arg.value if isinstance(arg, ast.Constant) else None for arg in node.args
            ]
            message = _message(names.get(node.func.id, ""), texts)
            if message is not None:
                yield message


def _in_template(source: str, name: str) -> Iterator[Message]:
    # The result looks like code that calls gettext with literals; all else is blanked out.
    code = templatize(source, origin=name)
    for call in CALL.finditer(code):
        texts: list[object] = []
        place = call.end()
        while literal := LITERAL.match(code, place):
            texts.append(ast.literal_eval(literal["text"]))
            place = literal.end()
            if literal["end"] == ")":
                break
        message = _message(call["name"].replace("_", "gettext"), texts)
        if message is not None:
            yield message


def _message(function: str, texts: list[object]) -> Message | None:
    places = CALLS.get(function, (None, None, None))
    context, text, plural = (
        texts[place] if place is not None and place < len(texts) else None for place in places
    )
    if not isinstance(text, str):
        return None
    key = Key(text, context if isinstance(context, str) else None)
    return Message(key, plural if isinstance(plural, str) else None)


def merge(catalogue: Catalogue, found: dict[Key, Message]) -> Catalogue:
    """The texts that were found, with the translations that are there."""
    messages = {}
    for key, message in found.items():
        known = catalogue.messages.get(key)
        if known is None or known.plural != message.plural:
            messages[key] = message
        else:
            messages[key] = replace(
                message, translations=known.translations, is_fuzzy=known.is_fuzzy
            )
    return replace(catalogue, messages=messages)


# Files


def read(source: str) -> Catalogue:
    """A .po file, from its text."""
    head, *entries = re.split(r"\n\n+", source.strip())
    comment = "".join(f"{line}\n" for line in head.split("\n") if line.startswith("#"))
    catalogue = Catalogue(comment, _entry(head).translations[0])
    for entry in entries:
        message = _entry(entry)
        catalogue.messages[message.key] = message
    return catalogue


def _entry(source: str) -> Message:
    parts: dict[str, str] = {}
    files: list[str] = []
    is_fuzzy = False
    part = ""
    for line in source.split("\n"):
        if line.startswith("#"):
            is_fuzzy |= line.startswith("#,") and "fuzzy" in line
            files += line[2:].split() if line.startswith("#:") else []
            continue
        match = LINE.fullmatch(line)
        if match is None:
            msg = f"This line of the catalogue cannot be read: {line}"
            raise ValueError(msg)
        if match["key"]:
            part = f"{match['key']}{match['form'] or ''}"
        parts[part] = parts.get(part, "") + ast.literal_eval(match["text"])
    translations = [text for name, text in sorted(parts.items()) if name.startswith("msgstr")]
    return Message(
        Key(parts["msgid"], parts.get("msgctxt")),
        parts.get("msgid_plural"),
        tuple(translations) if any(translations) else (),
        is_fuzzy,
        tuple(files),
    )


def write(catalogue: Catalogue) -> str:
    """The text of a .po file."""
    lines = [f"{line}\\n" for line in catalogue.header.splitlines()]
    header = "\n".join(f'"{line}"' for line in lines)
    entries = [f'{catalogue.comment}msgid ""\nmsgstr ""\n{header}\n']
    entries += [_write_entry(message) for message in catalogue.messages.values()]
    return "\n".join(entries)


def _write_entry(message: Message) -> str:
    flags = ["fuzzy"] if message.is_fuzzy else []
    if PLACEHOLDER.search(message.key.text) or PLACEHOLDER.search(message.plural or ""):
        flags.append("python-format")
    lines = [f"#: {name}" for name in message.files]
    lines += [f"#, {', '.join(flags)}"] if flags else []
    lines += [f"msgctxt {_quote(message.key.context)}"] if message.key.context else []
    lines.append(f"msgid {_quote(message.key.text)}")
    if message.plural is None:
        lines.append(f"msgstr {_quote(''.join(message.translations))}")
    else:
        lines.append(f"msgid_plural {_quote(message.plural)}")
        forms = message.translations or ("", "")
        lines += [f"msgstr[{form}] {_quote(text)}" for form, text in enumerate(forms)]
    return "".join(f"{line}\n" for line in lines)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    if "\n" not in escaped:
        return f'"{escaped}"'
    lines = escaped.replace("\n", "\\n\n").removesuffix("\n").split("\n")
    return "\n".join(['""', *(f'"{line}"' for line in lines)])


def compile_messages(catalogue: Catalogue) -> bytes:
    """The .mo file of what is translated, as GNU gettext lays it out, without a hash table."""
    texts = {"": catalogue.header}
    for key, message in catalogue.messages.items():
        if message.translations and not message.is_fuzzy:
            context = f"{key.context}\x04" if key.context else ""
            plural = "" if message.plural is None else f"\0{message.plural}"
            texts[f"{context}{key.text}{plural}"] = "\0".join(message.translations)
    pairs = sorted((left.encode(), right.encode()) for left, right in texts.items())
    count = len(pairs)
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 28 + 16 * count)
    place = len(head) + 16 * count
    tables, data = b"", b""
    for column in (0, 1):
        for pair in pairs:
            tables += struct.pack("<2I", len(pair[column]), place + len(data))
            data += pair[column] + b"\0"
    return head + tables + data


if __name__ == "__main__":
    sys.exit(main())
