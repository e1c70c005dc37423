"""The list of runs, runs side by side, and pictures of charts that are taken elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.consortium import Consortium
from tests.page.visits import visiting

pytestmark = pytest.mark.browser


def test_runs_are_marked_by_keyboard_and_compared_each_with_its_own_look(
    browser: Browser, consortium: Consortium
) -> None:
    with visiting(browser, f"{consortium.address}/runs") as visit:
        page = visit.page
        boxes = page.get_by_role("checkbox")
        expect(boxes).to_have_count(len(consortium.runs))
        visit.faultless()
        for place in (0, 1):
            boxes.nth(place).focus()
            page.keyboard.press("Space")
        expect(page.get_by_text("2 of at most 6 marked")).to_be_visible()
        page.get_by_role("link", name="Compare 2 runs").focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/compare\?runs="))
        expect(page.locator(".chart-drawing")).to_have_count(4)
        expect(page.locator(".series.tone-run-1 .line").first).to_be_visible()
        expect(page.locator(".series.tone-run-2 .line").first).to_have_attribute("stroke-dasharray", "7 4")
        visit.faultless()
        page.get_by_role("link", name=re.compile("^Take A, ")).click()
        expect(page.get_by_role("heading", name="Choose two runs or more")).to_be_visible()
        expect(page).to_have_url(re.compile(r"runs=%2C\w{26}"))


def test_six_places_fit_a_telephone(browser: Browser, consortium: Consortium) -> None:
    runs = ",".join(consortium.runs.values())
    with visiting(browser, f"{consortium.address}/compare?runs={runs}", width=390) as visit:
        expect(visit.page.locator(".chart-drawing")).to_have_count(4)
        expect(visit.page.get_by_text("not released: would cost privacy").first).to_be_visible()
        assert visit.overflow() == []


def test_a_filter_that_no_run_passes_leads_back(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, f"{consortium.address}/runs?state=cancelled") as visit:
        expect(visit.page.get_by_role("heading", name="No run matches")).to_be_visible()
        assert visit.accessibility() == []
        visit.page.get_by_role("link", name="Show all runs").click()
        expect(visit.page.get_by_role("checkbox")).to_have_count(len(consortium.runs))


def test_a_chart_is_saved_as_a_picture_that_stands_by_itself(
    browser: Browser, consortium: Consortium, tmp_path: Path
) -> None:
    with visiting(browser, consortium.link("finished")) as visit:
        expect(visit.page.locator(".chart-drawing").first).to_be_visible()
        for kind in ("svg", "png"):
            visit.page.get_by_role("button", name="Save Accuracy as a picture").click()
            with visit.page.expect_download() as download:
                visit.page.get_by_role("button", name=kind.upper()).click()
            assert re.fullmatch(rf"fedpriv_\d{{8}}T\d{{6}}Z_accuracy\.{kind}", download.value.suggested_filename)
            download.value.save_as(tmp_path / f"picture.{kind}")
        drawing = (tmp_path / "picture.svg").read_text()
        assert "Global model on the public validation set" in drawing and "data:font/woff2" in drawing
        assert "var(--" not in drawing and "currentcolor" not in drawing.lower()
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        assert visit.complaints == []
