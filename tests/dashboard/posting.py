"""What a browser sends for values of a JSON Schema form."""

import json
from datetime import datetime

from dashboard.answer_forms import leaves
from dashboard.descriptions.json_schema import escape
from dashboard.descriptions.nodes import Group, Kind, Leaf, Rows


def sent_for(node, value, name="values"):
    """Return pairs of names and texts."""
    if isinstance(node, Group):
        members = dict(node.members)
        for branch in node.branches:
            members |= branch.members
        given = dict(enumerate(value)) if node.is_list else value
        for key, one in given.items():
            yield from sent_for(members[str(key)], one, f"{name}/{escape(str(key))}")
    elif isinstance(node, Rows):
        for number, one in enumerate(value):
            yield name, str(number)
            yield from sent_for(node.item, one, f"{name}/{number}")
    else:
        yield from _texts(node, value, name)


def _texts(leaf: Leaf, value, name):
    match leaf.kind:
        case Kind.BOOLEAN:
            if value:
                yield name, "on"
        case Kind.CHOICES:
            yield from ((name, leaves.to_input(leaf, [one])[0]) for one in value)
        case Kind.JSON:
            yield name, json.dumps(value)
        case Kind.INSTANT:
            yield name, datetime.fromisoformat(value).replace(tzinfo=None).isoformat()
        case Kind.FIXED:
            return
        case _:
            if value is not None:
                yield name, leaves.to_input(leaf, value)
