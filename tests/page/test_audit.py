"""The audit log's page: what happened and the objects that say so, and how each ledger's hash chain stands."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running, until
from tests.page.proven import Proof, proving
from tests.page.visits import serving, visiting
from tests.proven_run import ProvenRun
from tests.statements import RUN

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def proof(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    folder = tmp_path_factory.mktemp("proof")
    with proving(emulator, folder, ProvenRun.make(folder / "consortium")) as shown:
        until(lambda: shown.api.json("/v1/audit?kind=statement")["entries"], "the statement's entry")
        until(lambda: shown.api.json("/v1/audit?kind=server")["entries"], "the server's entry")
        yield shown


def test_ledgers_are_told_in_words_with_the_evidence_and_what_is_not_proven(browser: Browser, proof: Proof) -> None:
    with visiting(browser, f"{proof.address}/audit") as visit:
        ledgers = visit.page.get_by_role("region", name="Ledgers").locator(".chain-list > li")
        expect(ledgers.first).to_contain_text("Set back")
        expect(ledgers.first).to_contain_text("refused 1 time because it was set back, and not heard of since")
        expect(ledgers.first).to_contain_text(f"v1/runs/{proof.runs['cancelled']}/admissions/site-6.json")
        sound = ledgers.filter(has=visit.page.get_by_text("site-1", exact=True))
        expect(sound).to_contain_text("Consistent")
        expect(sound).to_contain_text("1 signed by the site")
        visit.page.get_by_text("What this does not prove").click()
        expect(visit.page.get_by_text("fedpriv ledger verify", exact=False)).to_be_visible()
        visit.faultless()


def test_the_log_is_narrowed_by_links_and_leads_to_runs_and_statements(browser: Browser, proof: Proof) -> None:
    with visiting(browser, f"{proof.address}/audit?run={RUN}") as visit:
        entries = visit.page.locator(".audit-entries > li")
        expect(entries).to_have_count(6)
        visit.page.get_by_role("link", name="Statements").click()
        expect(entries).to_have_count(1)
        expect(visit.page.get_by_role("link", name="Statements")).to_have_attribute("aria-current", "true")
        assert visit.page.url.endswith(f"kind=statement&run={RUN}")
        visit.page.get_by_role("link", name="Show every run").click()
        visit.page.get_by_role("link", name="Refusals").click()
        expect(entries).to_contain_text(["site-6 declined the run"])
        visit.page.get_by_role("link", name="Servers").click()
        expect(entries).to_contain_text(["A server started and took term 1"])
        visit.page.get_by_role("link", name="Unreadable").click()
        expect(visit.page.get_by_text("Nothing of this kind.")).to_be_visible()
        visit.page.get_by_role("link", name="Statements").click()
        visit.page.get_by_role("link", name="Statement of breast-cancer").click()
        expect(visit.page.get_by_role("heading", name="Check it yourself")).to_be_visible()


def test_what_is_shown_can_be_taken_elsewhere(browser: Browser, proof: Proof) -> None:
    with visiting(browser, f"{proof.address}/audit?site=site-1") as visit:
        page = visit.page
        expect(page.locator(".audit-entries > li")).to_have_count(1)
        with page.expect_download() as saved:
            page.get_by_role("button", name="CSV", exact=True).click()
        with Path(saved.value.path()).open(newline="") as table:
            assert [row["site"] for row in csv.DictReader(table)] == ["site-1"]
        with page.expect_download() as saved:
            page.get_by_role("button", name="NDJSON").click()
        assert [json.loads(line)["site"] for line in Path(saved.value.path()).read_text().splitlines()] == ["site-1"]


def test_it_fits_a_phone(browser: Browser, proof: Proof) -> None:
    with visiting(browser, f"{proof.address}/audit", width=390, height=844) as visit:
        expect(visit.page.locator(".audit-entries > li").first).to_be_visible()
        assert visit.overflow() == []
        assert visit.accessibility() == []


def test_an_empty_hub_and_an_api_that_is_away_are_said(browser: Browser, emulator: Emulator, tmp_path: Path) -> None:
    api = Api.over(emulator.store(), emulator, tmp_path / "api")
    with running(api), serving(api, tmp_path / "page") as address:
        with visiting(browser, f"{address}/audit") as visit:
            expect(visit.page.get_by_text("Nothing has happened yet.")).to_be_visible()
            expect(visit.page.get_by_text("No site has told of its ledger yet.")).to_be_visible()
            visit.faultless()
        api.end()
        with visiting(browser, f"{address}/audit") as visit:
            expect(visit.page.get_by_role("heading", name="The metrics API is not answering")).to_be_visible()
            assert visit.accessibility() == []
