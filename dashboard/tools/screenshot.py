"""Pictures of the dashboard for the documentation, from a page that is up (for example by `make demo`).

    .venv/bin/python dashboard/tools/screenshot.py http://127.0.0.1:3000/ docs/images
    .venv/bin/python dashboard/tools/screenshot.py "http://127.0.0.1:3000/?run=01K…" docs/images

Writes dashboard-light.png and dashboard-dark.png (1440 px wide, the whole page) and dashboard-mobile.png (390 px), of
the newest run unless the address names another, once every figure and the font are there.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, TimeoutError, sync_playwright

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
PICTURES: tuple[tuple[str, Literal["light", "dark"], int], ...] = (
    ("dashboard-light.png", "light", 1440),
    ("dashboard-dark.png", "dark", 1440),
    ("dashboard-mobile.png", "light", 390),
)


def take(browser: Browser, address: str, theme: Literal["light", "dark"], width: int, picture: Path) -> None:
    """One picture of the whole page."""
    with contextlib.closing(
        browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce")
    ) as context:
        page = context.new_page()
        page.goto(address)
        page.locator(".chart-drawing").first.wait_for(timeout=20_000)
        page.evaluate("document.fonts.ready")
        # The line that says how old the figures are appears with the stream; a page that is not live says so too.
        with contextlib.suppress(TimeoutError):
            page.locator(".live-mark.is-live, .live-mark.is-done").wait_for(timeout=5_000)
        # As tall as the page: what is fixed to the window then stands at its foot and not in the middle.
        page.set_viewport_size({"width": width, "height": page.evaluate("document.documentElement.scrollHeight")})
        page.screenshot(path=picture)


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of the dashboard; ?run= chooses a run")
    parser.add_argument("folder", type=Path, help="where the pictures go, such as docs/images")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=list(FLAGS))
        for name, theme, width in PICTURES:
            take(browser, arguments.address, theme, width, arguments.folder / name)
        browser.close()


if __name__ == "__main__":
    main()
