"""What a person sees while runs, the API and the storage come and go: real processes, a real bucket, real signals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.page.visits import serving, visiting
from tests.run_writer import new_run_id, wall, write_run, write_steps

pytestmark = pytest.mark.browser


def test_a_live_run_appears_round_by_round(
    browser: Browser, emulator: Emulator, object_store: ObjectStore, tmp_path: Path
) -> None:
    api = Api.over(object_store, emulator, tmp_path / "api")
    with running(api), serving(api, tmp_path / "page") as address, visiting(browser, address) as visit:
        expect(visit.page.get_by_role("heading", name="No runs yet")).to_be_visible()
        expect(visit.page.get_by_text("make demo", exact=True)).to_be_visible()
        assert visit.accessibility() == []

        steps = write_steps(object_store, new_run_id(), clock=wall)
        next(steps)
        expect(visit.page.get_by_text("The first round shows up here when it closes.").first).to_be_visible()
        next(steps)
        expect(visit.cell("Sites joined")).to_contain_text("3 of 3")
        for name in steps:
            if name == "end":
                break
            if name.startswith("round "):
                number = name.removeprefix("round ")
                expect(visit.cell("Round").locator(".cell-value")).to_have_text(f"{number} of 13")
        expect(visit.page.locator(".live")).to_contain_text("Finished")
        expect(visit.page.get_by_text("Run finished after 13 rounds")).to_be_visible()
        assert visit.complaints == []


def test_an_interruption_is_said_with_the_time_of_the_data_and_heals_without_a_gap(
    browser: Browser, emulator: Emulator, object_store: ObjectStore, tmp_path: Path
) -> None:
    api = Api.over(object_store, emulator, tmp_path / "api")
    steps = write_steps(object_store, new_run_id(), clock=wall)
    while next(steps) != "round 3":
        pass
    with running(api), serving(api, tmp_path / "page") as address, visiting(browser, address) as visit:
        rounds = visit.cell("Round").locator(".cell-value")
        expect(rounds).to_have_text("3 of 13")
        api.end()
        banner = visit.page.get_by_role("alert")
        expect(banner).to_contain_text("Live updates are interrupted.")
        expect(banner).to_contain_text(re.compile(r"data from \d\d:\d\d:\d\d UTC"))
        expect(banner).to_contain_text("Training is not affected.")
        expect(visit.page.locator(".chart-drawing")).to_have_count(5)
        assert visit.accessibility() == []

        assert [next(steps), next(steps)] == ["round 4", "round 5"]
        api.start()
        visit.page.get_by_role("button", name="Retry now").click()
        expect(banner).to_have_count(0)
        expect(rounds).to_have_text("5 of 13")
        slider = visit.page.get_by_role("slider", name="Accuracy of the global model")
        expect(slider).to_have_attribute("aria-valuemax", "5")
        visit.page.get_by_role("button", name="Table of Accuracy").click()
        expect(visit.page.get_by_role("rowheader")).to_contain_text(["5", "4", "3", "2", "1"])


def test_an_api_that_is_away_from_the_start_is_said_and_healed(
    browser: Browser, emulator: Emulator, object_store: ObjectStore, tmp_path: Path
) -> None:
    api = Api.over(object_store, emulator, tmp_path / "api")
    write_run(object_store)
    with serving(api, tmp_path / "page") as address, visiting(browser, address) as visit:
        expect(visit.page.get_by_role("heading", name="The metrics API is not answering")).to_be_visible()
        expect(visit.page.get_by_text("Training is not affected")).to_be_visible()
        expect(visit.page.get_by_text("HTTP 502")).to_be_visible()
        assert visit.accessibility() == []
        # Pressed while it can be: once the API is there, the page finds it by itself, and the button goes.
        with visit.page.expect_request("**/api/v1/runs*"):
            visit.page.get_by_role("button", name="Try again").click()
        with running(api):
            expect(visit.page.locator(".chart-drawing")).to_have_count(5)
