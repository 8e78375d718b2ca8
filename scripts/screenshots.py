"""Take the documentation's pictures: every page of the demo, wide and narrow, light and dark.

    make screenshots        (ARGS="--only inbox audit": some of them)

Sets the demo up in a folder of its own, serves it, signs in as its people, and writes to
``docs/images``. ``docs/pages.md`` has to show every picture, and no other.
"""

import argparse
import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "pages.md"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--lang=en-GB"]

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
THEMES = ("light", "dark")
QUALITIES = (70, 55, 40, 30)
"""Of WebP, one after the other until a picture is small enough."""
MAX_BYTES = 60_000
START_SECONDS = 60

type Act = Callable[[Page], None]


def stay(_page: Page) -> None:
    """Do nothing: the page is shown as it comes."""


def approve(page: Page) -> None:
    """Try to approve, which shows what is missing."""
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("alert").first.wait_for()
    page.wait_for_timeout(200)


def tick_expenses(page: Page) -> None:
    """Choose all expenses, and go on to their common answer."""
    for title in ("Parking in Malmö", "Adapter for the projector", "Flowers for the reception"):
        page.get_by_label(f"Choose {title}", exact=False).check()
    page.get_by_role("button", name="Answer the ticked ones").click()
    page.wait_for_url("**/answers/*/")


def paste(page: Page) -> None:
    """Try a request out."""
    page.get_by_label("Body").fill('{"action": "closed", "pull_request": {"number": 140}}')
    page.get_by_role("button", name="Try it").click()
    page.get_by_text("What would happen").wait_for()


def send_and_look(page: Page) -> None:
    """Confirm an answer, and look while it can be taken back."""
    page.get_by_label("Last four digits").fill("6243")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Undo").wait_for()


def take_back(page: Page) -> None:
    """Let nothing be decided: others look at the same question."""
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Approve").wait_for()


def revoke(page: Page) -> None:
    """Leave no token behind."""
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("You have no tokens").wait_for()


def make_token(page: Page) -> None:
    """Make a token, which shows it once."""
    page.get_by_label("What is it for?").fill("Nightly report")
    page.get_by_role("button", name="Make the token").click()
    page.get_by_text("Copy the token now").wait_for()


class Shot(NamedTuple):
    """A page as somebody sees it; ``user`` is empty for those who have not signed in."""

    name: str
    user: str
    path: str
    act: Act = stay
    afterwards: Act = stay


SHOTS = (
    Shot("login", "", "/accounts/login/"),
    Shot("inbox", "mia", "/inbox/purchase-4711:2/"),
    Shot("inbox-list", "mia", "/inbox/"),
    Shot("policy", "mia", "/inbox/invoice-20417:2/"),
    Shot("form", "mia", "/inbox/refund-3391:1/"),
    Shot("form-errors", "mia", "/inbox/refund-3391:1/", approve),
    Shot("edit-and-approve", "mia", "/inbox/offer-871:1/"),
    Shot("confirm", "mia", "/inbox/deposit-harbour:1/"),
    Shot("undo", "mia", "/inbox/deposit-harbour:1/", send_and_look, take_back),
    Shot("snoozed", "mia", "/inbox/purchase-4713:2/?tab=snoozed"),
    Shot("rounds", "jon", "/inbox/review-opening-hours:3/"),
    Shot("settled", "mia", "/inbox/offer-869:1/?tab=done"),
    Shot("expired", "olga", "/inbox/access-payroll:1/?tab=done"),
    Shot("taken-on", "olga", "/inbox/access-reports:1/"),
    Shot("bulk", "mia", "/inbox/", tick_expenses),
    Shot("bulk-results", "finn", "{bulk}"),
    Shot("away", "mia", "/away/"),
    Shot("views", "mia", "/views/"),
    Shot("preferences", "mia", "/preferences/"),
    Shot("notifications", "mia", "/account/notifications/"),
    Shot("tokens", "olga", "/account/tokens/", make_token, revoke),
    Shot("link", "", "{link}"),
    Shot("mute", "", "{mute}"),
    Shot("executions", "olga", "/executions/"),
    Shot("execution", "olga", "/executions/deploy-shop-42/"),
    Shot("execution-failed", "olga", "/executions/refund-3388/?step=refund-3388%3A2"),
    Shot("execution-wide", "olga", "/executions/stock-november/"),
    Shot("history", "olga", "/executions/deploy-shop-42/?tab=history"),
    Shot("cancel", "olga", "/executions/purchase-4712/cancel/"),
    Shot("audit", "olga", "/audit/"),
    Shot("webhooks", "olga", "/webhooks/"),
    Shot("webhook", "olga", "/webhooks/pull-requests/"),
    Shot("webhook-delivery", "olga", "/webhooks/pull-requests/deliveries/2/"),
    Shot("webhook-form", "olga", "/webhooks/pull-requests/edit/"),
    Shot("webhook-test", "olga", "/webhooks/pull-requests/test/", paste),
)


def main() -> int:
    """Take the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="take only these")
    parser.add_argument("--format", choices=("webp", "png"), default="webp")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("Chromium is not on the PATH.", file=sys.stderr)
        return 1
    shots = [shot for shot in SHOTS if not options.only or shot.name in options.only]
    options.to.mkdir(parents=True, exist_ok=True)
    if not options.only:
        for old in options.to.glob(f"*.{options.format}"):
            old.unlink()
    with (
        tempfile.TemporaryDirectory(prefix="signoff-demo-") as folder,
        demo(Path(folder)) as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        take_all(browser, site, shots, options.to, options.format)
        browser.close()
    return 0 if options.only else compare_with_document()


class Site(NamedTuple):
    """Where the demo is served, and where its passwords are."""

    url: str
    folder: Path
    addresses: dict[str, str]

    def password_of(self, user: str) -> str:
        """Return what somebody signs in with."""
        return (self.folder / f"demo_password_{user}").read_text()


@contextmanager
def demo(folder: Path) -> Iterator[Site]:
    """Set the demo up on a fresh database, and serve it with a worker for each of its groups."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env = kept | {
        "SIGNOFF_DEMO": "1",
        "SIGNOFF_VAR_DIR": str(folder),
        "SIGNOFF_LINKS": "bound",
        "SIGNOFF_BASE_URL": url,
        "LOG_LEVEL": "ERROR",
    }
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "demo", "--no-serve"], env=env, check=True, stdout=subprocess.DEVNULL)
    found = subprocess.run(
        [*manage, "shell", "--verbosity", "0", "--command", _ADDRESSES],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    addresses = dict(line.split(" ", 1) for line in found.stdout.splitlines() if " " in line)
    # Mails of development are printed.
    env["SIGNOFF_CHANNELS"] = '[{"channel": "mail"}]'
    processes = [
        subprocess.Popen([*manage, *command], env=env, stdout=subprocess.DEVNULL)
        for command in (
            ["serve", "--worker", "--port", str(port)],
            ["worker", "--group", "reports"],
        )
    ]
    try:
        wait_for(f"{url}/accounts/login/")
        yield Site(url, folder, addresses)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


_ADDRESSES = """
from dashboard import links
from dashboard.channels.muting import Muting
from dashboard.models import BulkJob, HumanTask
from django.contrib.auth import get_user_model
from django.urls import reverse
mia = get_user_model().objects.get(username="mia")
print("link", links.make_link(HumanTask.objects.get(pk="purchase-4714:2"), mia))
print("mute", reverse("signoff:mute", args=[Muting(str(mia.pk), "mail", "invoice").encode()]))
print("bulk", reverse("signoff:bulk", args=[BulkJob.objects.get().pk]))
"""


def wait_for(url: str) -> None:
    """Wait until a page is served."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def take_all(browser: Browser, site: Site, shots: list[Shot], folder: Path, form: str) -> None:
    """Take the pictures, each person signing in once for each look."""
    for size in SIZES:
        for theme in THEMES:
            for user in dict.fromkeys(shot.user for shot in shots):
                with looking(browser, site, user, size=size, theme=theme) as context:
                    for shot in shots:
                        if shot.user == user:
                            path = folder / f"{shot.name}-{size}-{theme}.{form}"
                            take(context, site, shot, path)
                            print(f"{path.name} {path.stat().st_size // 1000} kB", flush=True)


@contextmanager
def looking(
    browser: Browser, site: Site, user: str, *, size: str, theme: str
) -> Iterator[BrowserContext]:
    """Sign somebody in, with a screen of some size and a system of some theme."""
    width, height = SIZES[size]
    context = browser.new_context(
        base_url=site.url,
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        locale="en-GB",
        device_scale_factor=1,
    )
    if user:
        page = context.new_page()
        page.goto("/accounts/login/")
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill(site.password_of(user))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/inbox/**")
        page.close()
    try:
        yield context
    finally:
        context.close()


def take(context: BrowserContext, site: Site, shot: Shot, path: Path) -> None:
    """Open the page, do what is to be done there, and save the picture."""
    page = context.new_page()
    page.goto(shot.path.format(**site.addresses), wait_until="load")
    shot.act(page)
    page.evaluate("document.fonts.ready")
    save(page, path)
    shot.afterwards(page)
    page.close()


def save(page: Page, path: Path) -> None:
    """Save what the window shows; Chromium itself writes WebP, Playwright does not offer it."""
    session = page.context.new_cdp_session(page)
    for quality in QUALITIES:
        form = {"format": "webp", "quality": quality} if path.suffix == ".webp" else {}
        shown = session.send("Page.captureScreenshot", {"format": "png"} | form)
        path.write_bytes(base64.b64decode(shown["data"]))
        if not form or path.stat().st_size <= MAX_BYTES:
            break


def compare_with_document() -> int:
    """Say which pictures the document does not show, or shows though there are none."""
    shown = set(re.findall(r"images/([\w.-]+)", DOCUMENT.read_text()))
    there = {
        f"{shot.name}-{size}-{theme}.webp" for shot in SHOTS for size in SIZES for theme in THEMES
    }
    for name in sorted(there ^ shown):
        print(f"{DOCUMENT.name}: {name} {'is missing' if name in there else 'is not taken'}")
    return 1 if there ^ shown else 0


if __name__ == "__main__":
    sys.exit(main())
