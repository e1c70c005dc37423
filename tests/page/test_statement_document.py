"""The statement's page in a real Chromium: it says what the statement says, to everybody, and asks nobody anything."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from fedpriv_common.statement.page import render
from fedpriv_common.statement.verify import parse
from tests.page.visits import visiting
from tests.statements import Consortium, told

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page over a signed part, an unsigned one, and an image's name that wants to be a script."""
    folder = tmp_path_factory.mktemp("page")
    consortium = Consortium.ran(folder)
    parts = {"site-1": consortium.parties[0].part(image_digest="<script>document.title = 'taken over'</script>")}
    parts["site-2"] = consortium.parties[1].part()
    signed = parse(consortium.countersign(consortium.statement(parts, {"site-3": told()})))
    page = folder / "statement.html"
    page.write_text(render(signed), encoding="utf-8")
    return page.as_uri()


@pytest.mark.parametrize("width", [1440, 360])
def test_it_is_accessible_fits_and_asks_nobody(browser: Browser, address: str, width: int) -> None:
    with visiting(browser, address, width=width) as visit:
        assert visit.accessibility() == []
        assert visit.complaints == []
        assert visit.elsewhere == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width


def test_it_says_what_is_promised_what_is_not_and_who_signed(browser: Browser, address: str) -> None:
    with visiting(browser, address) as visit:
        assert "taken over" not in visit.page.title()
        text = " ".join(visit.page.locator("main").inner_text().split())
        assert "epsilon at most 1.00 at delta 1e-5" in text
        assert "ε 2.00 spent by this and all earlier runs together" in text
        assert "What is not protected" in text
        assert "site-3 0.90 0.90 8.00 1e-5 not signed" in text
        assert "<script>document.title" in text, "shown, not run"
