"""The published schemas of what a question says of itself."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dashboard.api.operations import operation

_FOLDER = Path(__file__).resolve().parents[1] / "schemas"
HUMAN_TASK = "human-task.json"


@cache
def schema(name: str) -> dict[str, Any]:
    """Return a published schema."""
    found: dict[str, Any] = msgspec.json.decode((_FOLDER / name).read_bytes())
    return found


@operation("GET", f"schemas/{HUMAN_TASK}", result=dict[str, Any], is_public=True)
def read_human_task_schema() -> dict[str, Any]:
    """Return the JSON Schema of a description."""
    return schema(HUMAN_TASK)


@operation("GET", "schemas/policy.json", result=dict[str, Any], is_public=True)
def read_policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy."""
    return schema("policy.json")
