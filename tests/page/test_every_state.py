"""Every view in every state, on a desk and on a phone, in both themes: open to everybody, nothing moves, nothing sticks
out, nothing complained of, nothing asked of anybody else. Each state has its real cause: an empty bucket, an API that
is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.emulator import Emulator, free_port
from tests.integration.metrics_process import Api, running
from tests.page.consortium import Consortium
from tests.page.visits import Visit, serving, visiting
from tests.run_writer import new_run_id

pytestmark = pytest.mark.browser

PAGES = ("", "runs", "ledger", "sites", "compare", "plan", "audit", "statement")
WIDTHS = (1440, 390)
#: What a view shows when it has its figures; the name of its page otherwise.
FIGURES = ".card, .message, article"

views = pytest.mark.parametrize("page", PAGES, ids=lambda page: page or "run")
widths = pytest.mark.parametrize("width", WIDTHS)


@pytest.fixture(scope="module")
def empty(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page over a bucket that holds nothing."""
    folder = tmp_path_factory.mktemp("empty")
    with running(Api.over(emulator.store(), emulator, folder / "api")) as api, serving(api, folder / "page") as address:
        yield address


@pytest.fixture(scope="module")
def nobody(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page before a port where nothing listens."""
    folder = tmp_path_factory.mktemp("nobody")
    with serving(Api({}, folder / "api", port=free_port()), folder / "page") as address:
        yield address


def settled(visit: Visit) -> None:
    """Wait until the view shows what it has, with nothing still being read."""
    expect(visit.page.locator("main").locator(FIGURES).first).to_be_visible()
    expect(visit.page.locator("main [aria-busy=true]")).to_have_count(0)


@pytest.mark.parametrize("run", ["finished", "offline", "halted", "refused", "no public set", "unknown"])
@widths
def test_a_run_in_every_state(browser: Browser, consortium: Consortium, run: str, width: int) -> None:
    unknown = new_run_id()[:-4] + "0000"
    with visiting(browser, f"{consortium.address}/?run={consortium.runs.get(run, unknown)}", width=width) as visit:
        settled(visit)
        expect(visit.page.locator(".message")).to_have_count(1 if run == "unknown" else 0)
        visit.faultless(still=run != "unknown", told="404")


@pytest.mark.parametrize("page", [*PAGES[1:], "nowhere"])
@widths
def test_a_view_with_its_figures(browser: Browser, consortium: Consortium, page: str, width: int) -> None:
    with visiting(browser, f"{consortium.address}/{page}", width=width) as visit:
        settled(visit)
        expect(visit.page.get_by_role("heading", level=1)).to_have_count(1)
        visit.faultless(told="404")


@views
@widths
def test_a_view_of_nothing_yet(browser: Browser, empty: str, page: str, width: int) -> None:
    with visiting(browser, f"{empty}/{page}", width=width) as visit:
        settled(visit)
        visit.faultless(still=False)


# Compare asks for nothing before runs are chosen.
@pytest.mark.parametrize("page", [page for page in PAGES if page != "compare"], ids=lambda page: page or "run")
@widths
def test_a_view_that_cannot_be_read(browser: Browser, nobody: str, page: str, width: int) -> None:
    with visiting(browser, f"{nobody}/{page}", width=width) as visit:
        expect(visit.page.get_by_role("heading", name="The metrics API is not answering")).to_be_visible()
        expect(visit.page.get_by_role("button", name="Try again")).to_be_visible()
        visit.faultless(still=False, told="502")


@pytest.mark.parametrize("page", ["", "statement"])
def test_it_prints_without_what_only_a_screen_can_do(
    browser: Browser, consortium: Consortium, page: str, tmp_path: Path
) -> None:
    with visiting(browser, f"{consortium.address}/{page}") as visit:
        settled(visit)
        visit.page.emulate_media(media="print")
        for gone in (".rail", ".skip"):
            expect(visit.page.locator(gone)).to_be_hidden()
        assert visit.page.get_by_role("button").locator("visible=true").filter(has_text="Table").count() == 0
        visit.page.pdf(path=tmp_path / "page.pdf", format="A4")
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@views
def test_colours_of_the_system_and_twice_the_size_keep_everything_within_reach(
    browser: Browser, consortium: Consortium, page: str
) -> None:
    # A window of 720 px is one of 1440 px at a zoom of 200 %.
    with visiting(browser, f"{consortium.address}/{page}", width=720) as visit:
        visit.page.emulate_media(forced_colors="active")
        settled(visit)
        assert visit.accessibility() == []
        assert visit.overflow() == []
        for link in visit.page.get_by_role("navigation", name="Views").get_by_role("link").all()[1:]:
            link.focus()
            expect(link).to_be_in_viewport()
