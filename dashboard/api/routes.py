"""The parts of a path that stand for something: how they are read, and how they are described."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dashboard import question_ids

_NAME = re.compile(r"\{([a-z_]+)\}")
_NUMBER = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}


class Parameter(NamedTuple):
    """A part of a path: the converter that reads it, what it is, and its schema."""

    converter: str
    description: str
    schema: Mapping[str, Any]


PARAMETERS: Mapping[str, Parameter] = {
    "task_id": Parameter("promise", "Id of the question, which is that of its promise.", _TEXT),
    "execution_id": Parameter("promise", "Id of the execution.", _TEXT),
    "step_id": Parameter("promise", "Id of the step.", _TEXT),
    "job_id": Parameter("uuid", "Id of the bulk answer.", {"type": "string", "format": "uuid"}),
    "account_id": Parameter("int", "Number of the linked account.", _NUMBER),
    "delegation_id": Parameter("int", "Number of the delegation.", _NUMBER),
    "delivery_id": Parameter("int", "Number of the delivery.", _NUMBER),
    "secret_id": Parameter("int", "Number of the secret.", _NUMBER),
    "token_id": Parameter("int", "Number of the token.", _NUMBER),
    "view_id": Parameter("int", "Number of the saved view.", _NUMBER),
    "channel": Parameter("str", "Name of the channel.", _TEXT),
    "slug": Parameter("slug", "The end of the address that is posted to.", _TEXT),
}


class PromiseIdConverter:
    """An id as one part of a path: as the pages write it, or percent-encoded.

    A tilde belongs to the pages' way of writing, a slash never arrives as a part of one.
    """

    regex = r"[^/]+"
    to_url = staticmethod(question_ids.encode)

    @staticmethod
    def to_python(text: str) -> str:
        """Return the id; raises ``ValueError`` for what is none."""
        return text if "~" not in text else question_ids.decode(text)


class WholePathConverter(PromiseIdConverter):
    """An id as the rest of a path, whatever slashes it has."""

    regex = r".+"


def names_in(path: str) -> list[str]:
    """Return the names of the parameters of a path."""
    return _NAME.findall(path)


def to_route(path: str) -> str:
    """Return a path as Django routes it."""
    return _NAME.sub(lambda found: f"<{PARAMETERS[found[1]].converter}:{found[1]}>", path)
