"""Copies the front-end files of package.json out of node_modules, or checks the copies.

npm ci && python scripts/vendor.py     after a version in package.json changed
python scripts/vendor.py --check       needs neither npm nor node_modules
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NODE_MODULES = ROOT / "node_modules"
VENDOR = ROOT / "static" / "vendor"
RECORD = VENDOR / "VENDOR.toml"

HEADER = (
    "# Written by scripts/vendor.py, checked by make check. Paths are from the project's folder.\n"
)

ICON_PACKAGE = "lucide-static"
SPRITE = "static/dashboard/icons.svg"
ICONS = (
    "ban",
    "bell",
    "calendar-clock",
    "check",
    "chevron-right",
    "circle",
    "circle-dot",
    "clock",
    "corner-up-left",
    "download",
    "file-pen",
    "hand",
    "hourglass",
    "inbox",
    "key-round",
    "link",
    "list-checks",
    "list-tree",
    "lock",
    "log-out",
    "mail",
    "message-square",
    "moon",
    "plane",
    "scroll-text",
    "search",
    "shield-alert",
    "sliders-horizontal",
    "sun",
    "user",
    "user-check",
    "users",
    "vote",
    "webhook",
    "x",
)


@dataclass(frozen=True)
class Package:
    """An npm package, its files (source below node_modules: our copy) and its licence file."""

    name: str
    licence_file: str
    files: dict[str, str]


PACKAGES = (
    Package(
        "htmx.org",
        "LICENSE",
        {
            "dist/htmx.min.js": "static/vendor/htmx.min.js",
            "dist/ext/hx-sse.min.js": "static/vendor/hx-sse.min.js",
        },
    ),
    Package(
        "@picocss/pico",
        "LICENSE.md",
        {"css/pico.min.css": "static/vendor/pico.min.css"},
    ),
    Package(ICON_PACKAGE, "LICENSE", {}),
    # Only tests use this one, so it stays out of static/ and of the wheel.
    Package("axe-core", "LICENSE", {"axe.min.js": "tests/browser/vendor/axe.min.js"}),
)


def main() -> int:
    """Copy, or check and print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="verify versions and hashes only")
    if parser.parse_args().check:
        problems = find_problems()
        for problem in problems:
            print(problem, file=sys.stderr)
        return 1 if problems else 0
    copy()
    return 0


def copy() -> None:
    """Copy every file, build the icon sprite and write the record."""
    if not NODE_MODULES.is_dir():
        sys.exit("node_modules is missing. Run: npm ci")
    tables = []
    for package in PACKAGES:
        source = NODE_MODULES / package.name
        about = json.loads((source / "package.json").read_text())
        targets = list(package.files.values())
        for origin, target in package.files.items():
            _copy_file(source / origin, ROOT / target)
        if package.name == ICON_PACKAGE:
            targets.append(SPRITE)
            (ROOT / SPRITE).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / SPRITE).write_text(build_sprite(source / "icons", about["version"]))
        licence = f"{Path(targets[0]).parent}/{package.name.rpartition('/')[2]}.LICENSE.txt"
        _copy_file(source / package.licence_file, ROOT / licence)
        tables.append(_table(about, [*targets, licence]))
    RECORD.write_text(HEADER + "".join(tables))


def build_sprite(icons: Path, version: str) -> str:
    """One SVG with a symbol per icon, for ``<use href="icons.svg#inbox">``."""
    symbols = "".join(_symbol(name, (icons / f"{name}.svg").read_text()) for name in ICONS)
    return (
        f"<!-- lucide-static {version}, ISC: see {ICON_PACKAGE}.LICENSE.txt -->\n"
        f'<svg xmlns="http://www.w3.org/2000/svg">\n{symbols}</svg>\n'
    )


def find_problems() -> list[str]:
    """Differences between package.json, the record and the files; empty when all is well."""
    record = tomllib.loads(RECORD.read_text())["package"]
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    versions = {package["name"]: package["version"] for package in record}
    problems = []
    if versions != wanted:
        problems.append(
            f"package.json asks for {wanted}, VENDOR.toml records {versions}. Run: make vendor"
        )
    hashes = {file["path"]: file["sha256"] for package in record for file in package["file"]}
    for path, expected in hashes.items():
        if not (ROOT / path).is_file():
            problems.append(f"{path} is missing. Run: make vendor")
        elif _sha256(ROOT / path) != expected:
            problems.append(f"{path} is not the file that VENDOR.toml records. Run: make vendor")
    for file in sorted(VENDOR.iterdir()):
        path = str(file.relative_to(ROOT))
        if file != RECORD and path not in hashes:
            problems.append(f"{path} is not in VENDOR.toml. Move it elsewhere or delete it.")
    return problems


def _symbol(name: str, svg: str) -> str:
    body = re.search(r"<svg[^>]*>(.*)</svg>", svg, re.DOTALL)
    if body is None:
        sys.exit(f"{name}.svg has no svg element")
    shapes = " ".join(body[1].split())
    # How its lines are drawn says .icon in dashboard.css, once for all.
    return f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>\n'


def _table(about: dict[str, Any], paths: list[str]) -> str:
    lines = [
        "\n[[package]]",
        f'name = "{about["name"]}"',
        f'version = "{about["version"]}"',
        f'licence = "{about["license"]}"',
    ]
    for path in paths:
        lines += [
            "\n[[package.file]]",
            f'path = "{path}"',
            f'sha256 = "{_sha256(ROOT / path)}"',
        ]
    return "\n".join(lines) + "\n"


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
