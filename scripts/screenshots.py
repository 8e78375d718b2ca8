"""Take the documentation's pictures of the running demo: desktop and phone, light and dark.

    make demo            (in another terminal)
    .venv/bin/python scripts/screenshots.py [--url http://127.0.0.1:8001] [--to docs/images]

Signs in with the passwords that the demo keeps in var/.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


class Shot(NamedTuple):
    """A page as somebody sees it."""

    name: str
    user: str
    path: str


SHOTS = (
    Shot("inbox", "mia", "/inbox/purchase-4711:2/"),
    Shot("inbox-list", "mia", "/inbox/"),
    Shot("executions", "olga", "/executions/"),
    Shot("execution", "olga", "/executions/deploy-shop-42/"),
)


def main() -> int:
    """Take all pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8001")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--var", type=Path, default=ROOT / "var", help="where the passwords are")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("Chromium is not on the PATH.", file=sys.stderr)
        return 1
    options.to.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for shot in SHOTS:
            password = (options.var / f"demo_password_{shot.user}").read_text()
            for size in SIZES:
                for theme in ("light", "dark"):
                    take(
                        browser,
                        options.url,
                        shot,
                        password,
                        size=size,
                        theme=theme,
                        folder=options.to,
                    )
    return 0


def take(
    browser: Browser, url: str, shot: Shot, password: str, *, size: str, theme: str, folder: Path
) -> None:
    """Sign in, open the page, and save the picture."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        locale="en-GB",
        device_scale_factor=1,
    )
    page = context.new_page()
    sign_in(page, url, shot.user, password)
    page.goto(f"{url}{shot.path}", wait_until="load")
    suffix = "" if (size, theme) == ("desktop", "light") else f"-{size}-{theme}"
    page.screenshot(path=folder / f"{shot.name}{suffix}.png")
    context.close()


def sign_in(page: Page, url: str, user: str, password: str) -> None:
    """Sign in as somebody of the demo."""
    page.goto(f"{url}/accounts/login/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/inbox/**")


if __name__ == "__main__":
    sys.exit(main())
