"""A run's records and a plan's figures as files, taken from the page by mouse and by keyboard."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.consortium import Consortium
from tests.page.visits import Visit, visiting

pytestmark = pytest.mark.browser


def saved(visit: Visit, name: str, folder: Path) -> Path:
    """The file that an item of the open menu saves."""
    with visit.page.expect_download() as saving:
        visit.page.get_by_role("button", name=name).click()
    path = folder / saving.value.suggested_filename
    saving.value.save_as(path)
    expect(visit.page.locator(".export-list [role=status]")).to_have_text(f"Saved as {path.name}")
    return path


def test_a_run_is_saved_as_it_was_written_in_every_format(
    browser: Browser, consortium: Consortium, tmp_path: Path
) -> None:
    run_id = consortium.runs["finished"]
    records = consortium.api.json(f"/v1/runs/{run_id}/records?limit=5000&partial=true")["records"]
    with visiting(browser, f"{consortium.link('finished')}&site=site-2") as visit:
        page = visit.page
        expect(page.locator(".chart-drawing").first).to_be_visible()
        page.get_by_role("button", name="Export the records of this run").click()
        table = saved(visit, "CSV for spreadsheets", tmp_path)
        assert table.name == f"breast-cancer-{run_id}.csv"
        with table.open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(records)
        lines = saved(visit, "NDJSON", tmp_path).read_text().splitlines()
        assert [json.loads(line) for line in lines] == records
        assert json.loads(saved(visit, "JSON the same", tmp_path).read_text()) == records
        page.get_by_label("Only site-2").check()
        alone = saved(visit, "NDJSON", tmp_path)
        assert alone.name == f"breast-cancer-{run_id}-site-2.ndjson"
        assert {json.loads(line)["site"] for line in alone.read_text().splitlines()} == {"site-2"}
        assert visit.complaints == []


@pytest.mark.parametrize("width", [1440, 390])
def test_the_menu_is_for_keyboard_and_bars_nobody(browser: Browser, consortium: Consortium, width: int) -> None:
    with visiting(browser, consortium.link("offline"), width=width) as visit:
        page = visit.page
        button = page.get_by_role("button", name="Export the records of this run")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("The run goes on: the file holds what is there now.")).to_be_visible()
        assert visit.accessibility() == []
        assert visit.overflow() == []
        with page.expect_download() as saving:
            page.keyboard.press("Enter")
        assert saving.value.suggested_filename.endswith(".csv")
        page.keyboard.press("Escape")
        expect(page.locator(".export-list")).to_have_count(0)
        expect(button).to_be_focused()


def test_an_export_that_fails_says_why(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, consortium.link("finished")) as visit:
        expect(visit.page.locator(".chart-drawing").first).to_be_visible()
        visit.page.route(re.compile(r"/records\?"), lambda route: route.abort())
        visit.page.get_by_role("button", name="Export the records of this run").click()
        visit.page.get_by_role("button", name="CSV for spreadsheets").click()
        expect(visit.page.locator(".export-list [role=status]")).to_have_text("The metrics API cannot be reached.")


def test_a_chart_is_saved_as_the_table_that_it_shows(browser: Browser, consortium: Consortium, tmp_path: Path) -> None:
    with visiting(browser, f"{consortium.address}/plan?epsilon=2") as visit:
        page = visit.page
        page.get_by_role("button", name="Table of Expected loss against ε").click()
        shown = page.get_by_role("region", name="Expected loss against ε, table").locator("tbody tr")
        expect(shown.first).to_be_visible()
        page.get_by_role("button", name="Save Expected loss against ε").click()
        # There is no drawing to save now.
        expect(page.locator(".save-item")).to_have_count(1)
        with page.expect_download() as saving:
            page.get_by_role("button", name="CSV the figures as shown").click()
        path = tmp_path / "table.csv"
        saving.value.save_as(path)
        assert saving.value.suggested_filename.endswith("expected-loss-against.csv")
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["ε", "Points lost", "Mean over runs", "One in ten loses more than", "Budget"]
        assert len(rows) == 1 + shown.count()
        assert visit.complaints == []
