"""The reference names every setting, command and check; the README's addresses exist."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()


def found(pattern: str, *folders: str) -> set[str]:
    texts = [path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {match for text in texts for match in re.findall(pattern, text)}


@pytest.mark.parametrize(("app", "prefix"), [("durable", "DURABLE"), ("dashboard", "SIGNOFF")])
def test_every_setting_is_documented(app: str, prefix: str) -> None:
    settings = found(rf'"({prefix}_[A-Z_]+)"', app)
    assert settings
    assert {name for name in settings if f"`{name}`" not in REFERENCE} == set()


def test_the_settings_list_every_variable_of_the_environment() -> None:
    source = (ROOT / "dashboard" / "project" / "settings.py").read_text()
    variables = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source))
    assert variables
    docstring = source.split('"""')[1]
    assert {name for name in variables if not re.search(rf"\b{name}\b", docstring)} == set()


def test_every_check_is_documented() -> None:
    checks = found(r'id="(\w+\.[EW]\d+)"', "durable", "dashboard")
    assert checks
    assert {name for name in checks if f"`{name}`" not in REFERENCE} == set()


def test_every_command_is_documented() -> None:
    folders = [ROOT / app / "management" / "commands" for app in ("durable", "dashboard")]
    commands = {path.stem for folder in folders for path in folder.glob("[!_]*.py")}
    assert commands
    assert {name for name in commands if f"| `{name}" not in REFERENCE} == set()


def test_every_key_of_a_question_is_documented() -> None:
    schema = json.loads((ROOT / "dashboard" / "schemas" / "human-task.json").read_text())
    page = (ROOT / "docs" / "human-tasks.md").read_text()
    keys = {*schema["properties"], *schema["$defs"]["answer"]["properties"]}
    assert keys
    assert {key for key in keys if f"`{key}`" not in page} == set()


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [one for one in targets if not (path.parent / one).exists()] == []
