"""The privacy ledger and the sites, over the whole life of a consortium: one that came with a history, one that
declined, one near its limit, one that is away, and one where a person is waited for."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from pydantic import BaseModel

from fedpriv_common import keys
from fedpriv_common.accounting import GaussianEvent
from fedpriv_common.canonical import digest
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import AllowList, EndCause, EventKind, RunEvent, RunState
from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.lives import Life
from tests.page.visits import serving, visiting
from tests.run_writer import START, Script, encode, new_run_id, wall, write_steps

pytestmark = pytest.mark.browser

SETTINGS = RunSettings(quorum=2)
#: site-1 is near it once the consortium's runs are done; site-3 has promised a stricter one.
LIMITS = {"site-1": 2.6, "site-3": 4.0}


@dataclass
class Shown:
    """A page over that consortium."""

    address: str
    api: Api
    life: Life

    def link(self, path: str) -> str:
        """A view of it."""
        return f"{self.address}{path}"


def write_consortium(store: ObjectStore) -> Life:
    """Five runs, the last of them active."""
    life = Life()
    life.elsewhere("site-2", [GaussianEvent(14.0, 1.0, 40)])
    _write(store, life, Script(settings=SETTINGS, limits=LIMITS))
    _write(store, life, Script(settings=SETTINGS, limits=LIMITS, refusals={"site-3": Refusal.POLICY_REFUSED}))
    life.elsewhere("site-1", [GaussianEvent(14.0, 1.0, 8)])
    halted = Script(settings=SETTINGS, limits=LIMITS, last_round=6, state=RunState.HALTED, cause=EndCause.BUDGET)
    _write(store, life, halted)
    _write(store, life, Script(settings=SETTINGS, limits=LIMITS))
    away = Script(settings=SETTINGS, limits=LIMITS, absent={4: frozenset({"site-3"})})
    _write(store, life, away, "round 4")
    at = life.begins() - life.day + timedelta(seconds=9)
    waiting = RunEvent(
        run_id=life.runs[-1],
        event_id="01KE6P4YM0AAAAAAAAAAAAAAAA",
        at=at,
        kind=EventKind.AWAITING_APPROVAL,
        site="site-4",
    )
    _put(store, {keys.event(waiting.run_id, waiting.event_id): waiting})
    fingerprints = {site: digest({"key of": site}) for site in ("site-1", "site-2", "site-3", "site-4", "site-5")}
    listed = AllowList(at=START, cause="start", sites=fingerprints)
    _put(store, {keys.allow_list("01KE6P4YM0BBBBBBBBBBBBBBBB"): listed})
    return life


def _write(store: ObjectStore, life: Life, script: Script, upto: str = "end") -> None:
    for _, objects in life.run(script, upto):
        _put(store, objects)


def _put(store: ObjectStore, objects: Mapping[str, BaseModel]) -> None:
    for key, body in encode(objects).items():
        store.put_once(key, body)


@pytest.fixture(scope="module")
def shown(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    store, logs = emulator.store(), tmp_path_factory.mktemp("ledger")
    life = write_consortium(store)
    with running(Api.over(store, emulator, logs / "api")) as api, serving(api, logs / "page") as address:
        yield Shown(address, api, life)


def test_the_ledger_tells_budgets_over_all_runs_rounded_in_favour_of_the_record(browser: Browser, shown: Shown) -> None:
    accounts = {account["site"]: account for account in shown.api.json("/v1/privacy/ledger")["accounts"]}
    with visiting(browser, shown.link("/ledger")) as visit:
        expect(visit.page.get_by_role("heading", name="Privacy ledger", level=1)).to_be_visible()
        expect(visit.page.locator(".chart-drawing")).to_have_count(1)
        closest = accounts["site-1"]
        assert f"ε {_up(closest['epsilon_spent'])} of 2.60" in visit.text("Closest to its limit")
        assert "None fits at site-1" in visit.text("Runs left until first limit")
        before = accounts["site-2"]["epsilon_before"]
        assert f"ε {_up(before)} site-2, before its first run" in visit.text("Spent, but not listed here")
        meter = visit.page.get_by_role("meter", name="Lifetime budget of site-2")
        expect(meter).to_have_attribute(
            "aria-valuetext", re.compile(rf"^ε {_up(accounts['site-2']['epsilon_spent'])} of 8.00")
        )
        expect(visit.page.get_by_role("row", name="site-1").get_by_text("Near its limit")).to_be_visible()
        expect(visit.page.get_by_role("row", name="site-4").get_by_text("Nothing told yet")).to_be_visible()
        visit.faultless()


def _up(epsilon: float) -> str:
    return f"{-(-epsilon * 100 // 1) / 100:.2f}"


def test_every_charge_stands_with_its_run_and_a_refusal_at_no_cost(browser: Browser, shown: Shown) -> None:
    with visiting(browser, shown.link("/ledger?site=site-3")) as visit:
        charges = visit.page.get_by_role("region", name="Charges, table")
        rows = charges.get_by_role("row")
        expect(rows).to_have_count(1 + 5)
        declined = rows.filter(has_text="Declined: against its policy. Nothing charged")
        expect(declined).to_have_count(1)
        expect(declined.get_by_role("cell").nth(1)).to_have_text("–")
        expect(rows.filter(has_text="1 round missed")).to_have_count(1)
        charges.get_by_role("link").last.click()
        expect(visit.page).to_have_url(re.compile(f"run={shown.life.runs[0]}"))


def test_what_this_hub_was_not_told_is_said(browser: Browser, shown: Shown) -> None:
    with visiting(browser, shown.link("/ledger?site=site-1")) as visit:
        expect(visit.page.get_by_text("had been spent when it joined, more than had been told here")).to_have_count(1)
        expect(visit.page.get_by_text("Runs of other hubs")).to_be_visible()
        expect(visit.page.get_by_text("Account of site-1")).to_be_visible()
        visit.faultless()


def test_the_ledger_can_be_used_by_keyboard_and_every_state_is_a_link(browser: Browser, shown: Shown) -> None:
    with visiting(browser, shown.link("/ledger")) as visit:
        page, press = visit.page, visit.page.keyboard.press
        site = page.get_by_role("region", name="Lifetime budgets, table").get_by_role("link", name="site-2")
        site.focus()
        press("Enter")
        expect(page).to_have_url(re.compile(r"/ledger\?site=site-2$"))
        expect(page.get_by_role("heading", name="Charges of site-2")).to_be_visible()
        slider = page.get_by_role("slider", name="Lifetime epsilon of site-2, run by run")
        slider.focus()
        press("Home")
        expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^Before the first run here: site-2 ε 1\.78"))
        press("ArrowRight")
        expect(slider).to_have_attribute(
            "aria-valuetext", re.compile(r"^Run of 5 Jan, 09:00 UTC: site-2 ε .*This run alone ε 1\.00")
        )
        page.get_by_role("button", name="Table of Lifetime ε, run by run").click()
        expect(page.get_by_role("region", name="Lifetime ε, run by run, table").get_by_role("row")).to_have_count(6)
        page.reload()
        expect(page.get_by_role("heading", name="Charges of site-2")).to_be_visible()
        page.get_by_role("link", name="Show every site").click()
        expect(page).to_have_url(re.compile(r"/ledger$"))


@pytest.mark.parametrize("kind", ["CSV", "JSON"])
def test_the_charges_can_be_taken_along_and_are_exact(browser: Browser, shown: Shown, kind: str) -> None:
    told = shown.api.json("/v1/privacy/ledger/charges?limit=200")["charges"]
    with visiting(browser, shown.link("/ledger")) as visit:
        with visit.page.expect_download() as saving:
            visit.page.get_by_role("button", name=f"Save every charge as {kind}").click()
        expect(visit.page.get_by_text(f"{len(told)} charges saved")).to_be_visible()
        text = saving.value.path().read_text()
    if kind == "JSON":
        assert json.loads(text) == told
        return
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["run_id"], row["site"]) for row in rows] == [(charge["run_id"], charge["site"]) for charge in told]
    assert [float(row["epsilon_after"]) if row["epsilon_after"] else None for row in rows] == [
        charge["epsilon_after"] for charge in told
    ]


def test_the_sites_that_need_somebody_come_first_with_what_to_do(browser: Browser, shown: Shown) -> None:
    with visiting(browser, shown.link("/sites")) as visit:
        page = visit.page
        sites = page.get_by_role("region", name="Sites, table")
        expect(sites.get_by_role("rowheader")).to_have_text(["site-4", "site-3", "site-1", "site-2", "site-5"])
        expect(sites.get_by_role("row", name="site-3").get_by_text("Offline")).to_be_visible()
        visit.faultless()
        sites.get_by_role("link", name="site-4").focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/sites\?site=site-4$"))
        expect(page.get_by_text(f'fedpriv approve grant {shown.life.runs[-1]} --by "NAME"')).to_be_visible()
        assert visit.accessibility() == []
        identity = page.get_by_role("region", name="Identity")
        expect(identity.get_by_text(digest({"key of": "site-4"})[:12])).to_be_visible()
        sites.get_by_role("link", name="site-5").click()
        expect(page.get_by_text("No run has asked it yet.")).to_be_visible()
        assert visit.accessibility() == []
        sites.get_by_role("link", name="site-1").click()
        expect(page.get_by_role("heading", name="What to do about site-1")).to_be_visible()
        page.get_by_role("link", name="Ledger", exact=True).click()
        expect(page).to_have_url(re.compile(r"/ledger\?site=site-1$"))


@pytest.mark.parametrize("path", ["/ledger?site=site-1", "/sites?site=site-3"])
def test_the_pages_fit_a_phone(browser: Browser, shown: Shown, path: str) -> None:
    with visiting(browser, shown.link(path), width=390, height=844) as visit:
        expect(visit.page.locator(".card[aria-labelledby]").first).to_be_visible()
        visit.faultless()


def test_a_site_that_is_not_there_is_said(browser: Browser, shown: Shown) -> None:
    for page in ("ledger", "sites"):
        with visiting(browser, shown.link(f"/{page}?site=site-9")) as visit:
            expect(visit.page.get_by_role("heading", name="No account of site-9")).to_be_visible()
            assert visit.accessibility() == []


def test_an_empty_ledger_fills_by_itself_as_a_run_goes_on(
    browser: Browser, emulator: Emulator, object_store: ObjectStore, tmp_path: Path
) -> None:
    api = Api.over(object_store, emulator, tmp_path / "api")
    with serving(api, tmp_path / "page") as address, visiting(browser, f"{address}/ledger") as visit:
        expect(visit.page.get_by_role("heading", name="The metrics API is not answering")).to_be_visible()
        expect(visit.page.get_by_text("HTTP 502")).to_be_visible()
        assert visit.accessibility() == []
        with running(api):
            # The page asks again every five seconds while nothing answers, and every three while a run is active.
            expect(visit.page.get_by_role("heading", name="Nothing has been charged yet")).to_be_visible(timeout=20_000)
            assert visit.accessibility() == []
            with visiting(browser, f"{address}/sites") as other:
                expect(other.page.get_by_role("heading", name="No site has taken part yet")).to_be_visible()
                other.faultless()
            steps = write_steps(object_store, new_run_id(wall()), clock=wall)
            for name in ("run", "admissions", "round 0"):
                assert next(steps) == name
            meter = visit.page.get_by_role("meter", name="Lifetime budget of site-3")
            first = meter.get_attribute("aria-valuetext")
            assert next(steps) == "round 1"
            expect(meter).not_to_have_attribute("aria-valuetext", first or "", timeout=20_000)
            expect(meter).to_have_attribute("aria-valuetext", re.compile("1.00 when the run has ended as planned"))
