"""The privacy statement's page: read, printed, downloaded, and loud when the statement is not genuine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fedpriv_common import keys
from tests.emulator import Emulator
from tests.integration.metrics_process import until
from tests.page.proven import Proof, proving, tampered
from tests.page.visits import Visit, visiting
from tests.proven_run import ProvenRun
from tests.statements import MODEL, RUN

pytestmark = pytest.mark.browser

#: What a printer would cut off: text that is wider than what holds it.
CLIPPED = """() => [...document.querySelectorAll(".statement *")]
  .filter((element) => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
    && getComputedStyle(element).display !== "inline" && getComputedStyle(element).overflowX !== "visible")
  .map((element) => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> ProvenRun:
    return ProvenRun.make(tmp_path_factory.mktemp("consortium"))


@pytest.fixture(scope="module")
def proof(proven: ProvenRun, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    with proving(emulator, tmp_path_factory.mktemp("proof"), proven) as shown:
        # Checked once, so that every visit sees what was found.
        path = f"/v1/runs/{RUN}/statement/check"
        until(lambda: shown.api.json(path)["state"] == "verified", "the check", 60)
        yield shown


def shown(visit: Visit) -> str:
    expect(visit.page.get_by_role("heading", name="Check it yourself")).to_be_visible()
    return " ".join(visit.page.locator(".statement").inner_text().split())


def test_a_genuine_statement_reads_as_a_document(browser: Browser, proof: Proof, proven: ProvenRun) -> None:
    with visiting(browser, proof.statement("proven")) as visit:
        text = shown(visit)
        assert "Verified by this hub" in text
        assert "It is the hub’s own word on itself" in text
        words = proven.consortium.statement().words
        for sentence in (words.guarantee, words.trust_model, *words.not_protected, words.clipping, words.composition):
            assert sentence in text
        assert "fedpriv verify statement.json --model model.safetensors --hub-key hub.pem" in text
        assert "--site-key site-3=site-3.pem" in text
        visit.page.get_by_text(re.compile("28 of 31 checks hold")).click()
        expect(visit.page.get_by_role("rowheader", name="site-2: epsilon")).to_be_visible()
        visit.faultless()


def test_files_are_saved_byte_for_byte(browser: Browser, proof: Proof, proven: ProvenRun) -> None:
    expected = {"statement.json": proven.objects[keys.statement(RUN)], "model.safetensors": MODEL}
    with visiting(browser, proof.statement("proven")) as visit:
        shown(visit)
        for name, body in expected.items():
            with visit.page.expect_download() as saved:
                visit.page.get_by_role("button", name=name).click()
            assert Path(saved.value.path()).read_bytes() == body
            assert RUN in saved.value.suggested_filename


def test_it_prints_on_three_pages_without_a_frame_or_a_cut(browser: Browser, proof: Proof) -> None:
    with visiting(browser, proof.statement("proven"), width=718) as visit:
        shown(visit)
        visit.page.emulate_media(media="print")
        expect(visit.page.get_by_role("button", name="Print")).to_be_hidden()
        expect(visit.page.locator(".bar")).to_be_hidden()
        expect(visit.page.locator(".rail")).to_be_hidden()
        assert visit.page.evaluate(CLIPPED) == []
        pages = re.search(rb"/Type /Pages\s+/Count (\d+)|/Count (\d+)", visit.page.pdf(prefer_css_page_size=True))
        assert pages is not None
        assert 1 <= int(pages[1] or pages[2]) <= 3


def test_it_fits_a_phone_and_can_be_reached_from_the_run_by_keyboard(browser: Browser, proof: Proof) -> None:
    with visiting(browser, f"{proof.address}/?run={RUN}", width=390, height=844) as visit:
        link = visit.page.get_by_role("link", name="Privacy statement")
        link.focus()
        visit.page.keyboard.press("Enter")
        shown(visit)
        assert visit.overflow() == []
        assert visit.accessibility() == []


@pytest.mark.parametrize(
    ("run", "heading"),
    [
        ("active", "Its statement comes with its end"),
        ("awaited", "Its statement waits for its signature"),
        ("cancelled", "There is no statement of this run"),
    ],
)
def test_a_run_without_a_statement_says_why(browser: Browser, proof: Proof, run: str, heading: str) -> None:
    with visiting(browser, proof.statement(run)) as visit:
        expect(visit.page.get_by_role("heading", name=heading)).to_be_visible()
        expect(visit.page.get_by_role("button", name="statement.json")).to_have_count(0)
        assert visit.accessibility() == []


def test_a_statement_that_is_not_genuine_is_loud(
    browser: Browser, emulator: Emulator, proven: ProvenRun, tmp_path: Path
) -> None:
    with (
        proving(emulator, tmp_path, tampered(proven)) as proof,
        visiting(browser, proof.statement("proven")) as visit,
    ):
        alarm = visit.page.get_by_role("alert")
        expect(alarm).to_contain_text("do not rely on this statement", timeout=60_000)
        expect(alarm).to_contain_text("hub's signature: not one of the given key over this statement")
        expect(visit.page.get_by_role("rowheader", name="hub's signature")).to_be_visible()
        for theme in ("light", "dark"):
            visit.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            assert visit.accessibility() == []


def test_without_keys_it_is_said_that_nothing_was_checked(
    browser: Browser, emulator: Emulator, proven: ProvenRun, tmp_path: Path
) -> None:
    with (
        proving(emulator, tmp_path, proven, with_keys=False) as proof,
        visiting(browser, proof.statement("proven")) as visit,
    ):
        text = shown(visit)
        assert "Not checked here" in text
        assert "FEDPRIV_AUDITOR_KEYS" in text
        assert visit.accessibility() == []
