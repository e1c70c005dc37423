"""Pictures of the dashboard for the documentation, from a page that is up (for example by `make demo`).

    .venv/bin/python dashboard/tools/screenshot.py http://127.0.0.1:3000 docs/images
    .venv/bin/python dashboard/tools/screenshot.py http://127.0.0.1:3000 docs/images --run 01K…

Writes dashboard-light.png and dashboard-dark.png (1440 px wide, the whole page), dashboard-mobile.png (390 px), of the
newest run unless another is named, and one picture of each other view, once every figure and the font are there. The
page must need no API key.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Literal
from urllib.request import urlopen

from playwright.sync_api import Browser, TimeoutError, expect, sync_playwright

#: What a Chromium without a display, a GPU or a network of its own is started with.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Theme = Literal["light", "dark"]
#: File, view, theme, width in pixels, and most of the height where the whole page would be too long for a reader.
PICTURES: tuple[tuple[str, str, Theme, int, int | None], ...] = (
    ("dashboard-light.png", "", "light", 1440, None),
    ("dashboard-dark.png", "", "dark", 1440, None),
    ("dashboard-mobile.png", "", "light", 390, None),
    ("dashboard-ledger.png", "ledger", "light", 1440, 1000),
    ("dashboard-sites.png", "sites", "dark", 1440, 1000),
    ("dashboard-compare.png", "compare", "light", 1440, 1200),
    ("dashboard-statement.png", "statement", "light", 1440, 1200),
    ("dashboard-audit.png", "audit", "light", 1440, 1000),
    ("dashboard-plan.png", "plan", "dark", 1440, 1200),
)
#: Views that show one run.
OF_RUN = ("", "statement")


def take(browser: Browser, address: str, theme: Theme, width: int, highest: int | None, picture: Path) -> None:
    """One picture of the page, at most `highest` pixels of it."""
    with contextlib.closing(
        browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce")
    ) as context:
        page = context.new_page()
        page.goto(address)
        page.locator("main h1").wait_for(state="attached", timeout=20_000)
        expect(page.locator("main [aria-busy=true]")).to_have_count(0, timeout=20_000)
        page.evaluate("document.fonts.ready")
        # The line that says how old the figures are appears with the stream; a page that is not live says so too.
        with contextlib.suppress(TimeoutError):
            page.locator(".live-mark.is-live, .live-mark.is-done").wait_for(timeout=5_000)
        # As tall as the page: what is fixed to the window then stands at its foot and not in the middle.
        height = int(page.evaluate("document.documentElement.scrollHeight"))
        page.set_viewport_size({"width": width, "height": min(height, highest or height)})
        page.screenshot(path=picture)


def newest(root: str, most: int) -> list[str]:
    """Ids of the newest runs."""
    with urlopen(f"{root}/api/v1/runs?limit={most}", timeout=10) as answer:  # noqa: S310 - the page's own address
        return [run["run_id"] for run in json.load(answer)["runs"]]


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of the dashboard, without a path")
    parser.add_argument("--run", help="the run that pages about one run show; the newest unless told otherwise")
    parser.add_argument("folder", type=Path, help="where the pictures go, such as docs/images")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    arguments = parser.parse_args()
    root = arguments.address.rstrip("/")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=list(FLAGS))
        for name, view, theme, width, highest in PICTURES:
            query = f"?run={arguments.run}" if arguments.run and view in OF_RUN else ""
            if view == "compare":
                query = f"?runs={','.join(newest(root, 4))}"
            address = f"{root}/{view}{query}"
            take(browser, address, theme, width, highest, arguments.folder / name)
        browser.close()


if __name__ == "__main__":
    main()
