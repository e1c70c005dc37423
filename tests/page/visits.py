"""The built dashboard, served as the demo serves it, and a real Chromium that looks at it.

def test_the_sites_page_bars_nobody(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, f"{consortium.address}/sites") as visit:
        expect(visit.page.get_by_role("heading", name="Sites", exact=True)).to_be_visible()
        visit.faultless()
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from scripts.demo.preflight import VITE
from tests.emulator import free_port
from tests.integration.metrics_process import Api, until

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
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

#: Adds up how far things moved while the page came up, without what a click or a key moved.
SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("main *")]
    .filter((element) => element.getBoundingClientRect().right > width + 1)
    .map((element) => element.outerHTML.slice(0, 120));
}"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a display."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def serving(api: Api, log: Path) -> Iterator[str]:
    """The built page before `api`; its address."""
    port = free_port()
    command = ("node", str(VITE), "preview", str(DASHBOARD), "--port", str(port), "--strictPort")
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=os.environ | {"FEDPRIV_API_URL": api.url}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: httpx.get(address).status_code == 200, "the page")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@dataclass
class Visit:
    """A page that is open, and what it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def cell(self, name: str) -> Locator:
        """One cell of the strip, by its name."""
        return self.page.locator(".cell").filter(has=self.page.get_by_text(name, exact=True))

    def text(self, name: str) -> str:
        """The text of that cell, spaces made plain."""
        return " ".join(self.cell(name).inner_text().split())

    def accessibility(self) -> list[str]:
        """What axe finds against WCAG 2.2 A and AA and its best practices; empty when nothing."""
        source = (DASHBOARD / "node_modules" / "axe-core" / "axe.min.js").read_text()
        self.page.evaluate(source)
        result: dict[str, Any] = self.page.evaluate("axe.run({ resultTypes: ['violations'] })")
        return [
            f"{violation['id']}: {node['html']} {node['failureSummary']}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]

    def overflow(self) -> list[str]:
        """What is wider than the window, where the page as a whole can be scrolled sideways; empty when it cannot."""
        found: list[str] = self.page.evaluate(OVERFLOW)
        return found

    def shifts(self) -> float:
        """Cumulative layout shift since the page was opened, what a person's own input moves left out."""
        self.page.evaluate("document.fonts.ready")
        return float(self.page.evaluate("window.shifts"))

    def faultless(
        self, *, themes: Sequence[Theme] = ("light", "dark"), still: bool = True, told: str = " none"
    ) -> None:
        """What holds for every view in every state: open to everybody in both themes, nothing moved while it came up,
        nothing sticks out, nothing complained of, nothing asked of anybody else. `still=False` where a message takes
        the place of the figures that were awaited;
        `told` is in what the browser itself says of an answer that is no success."""
        assert not still or self.shifts() == 0
        for theme in themes:
            self.page.emulate_media(color_scheme=theme)
            assert self.accessibility() == [], theme
        assert self.overflow() == []
        assert [text for text in self.complaints if told not in text] == []
        assert self.elsewhere == []


@contextlib.contextmanager
def visiting(browser: Browser, address: str, *, width: int = 1440, height: int = 1000) -> Iterator[Visit]:
    """Open `address` in a context of its own: no cache, no remembered theme."""
    with contextlib.closing(
        browser.new_context(
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
        )
    ) as context:
        page = context.new_page()
        page.set_default_timeout(15_000)
        visit = Visit(page)
        page.on("console", lambda message: _complain(visit, message.type, message.text))
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("request", lambda request: _elsewhere(visit, address, request.url))
        page.add_init_script(SHIFTS)
        page.goto(address)
        yield visit


def _complain(visit: Visit, kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        visit.complaints.append(text)


def _elsewhere(visit: Visit, address: str, url: str) -> None:
    origin = "/".join(address.split("/")[:3])
    if not url.startswith((origin, "data:")):
        visit.elsewhere.append(url)
