"""The page before an API that asks for keys: the question, a wrong key, a site's own view, revocation, signing out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from fedpriv_common.store import ObjectStore
from fedpriv_metrics.key_commands import app
from tests.emulator import Emulator
from tests.integration.metrics_process import Api
from tests.page.visits import serving, visiting
from tests.run_writer import new_run_id, wall, write_run
from tests.waiting import until

pytestmark = pytest.mark.browser


class Keys:
    """A file of keys, as a person keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, *options: str) -> str:
        outcome = CliRunner().invoke(app, ["key", "add", name, *options, "--file", str(self.path)])
        assert outcome.exit_code == 0, outcome.stderr
        return outcome.stdout.strip()

    def remove(self, name: str) -> None:
        assert CliRunner().invoke(app, ["key", "remove", name, "--file", str(self.path)]).exit_code == 0


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.json")


@pytest.fixture
def address(keys: Keys, emulator: Emulator, object_store: ObjectStore, tmp_path: Path) -> Iterator[str]:
    keys.add("hub", "--role", "coordinator")
    write_run(object_store, new_run_id(wall()), clock=wall, upto=3)
    api = Api.over(object_store, emulator, tmp_path / "api", AUTH="keys", KEYS_FILE=str(keys.path))
    api.launch()
    until(lambda: "application startup complete" in api.log.read_text().lower(), "the start")
    try:
        with serving(api, tmp_path / "page") as address:
            yield address
    finally:
        api.end(9)


def test_a_key_is_asked_for_tried_kept_in_the_tab_and_forgotten(
    browser: Browser, address: str, keys: Keys, tmp_path: Path
) -> None:
    key = keys.add("radiology", "--role", "site", "--site", "site-2")
    with visiting(browser, address) as visit:
        page, question = visit.page, visit.page.get_by_role("heading", name="This metrics API asks for a key")
        expect(question).to_be_visible()
        assert visit.accessibility() == []
        field = page.get_by_label("API key")
        field.fill("fpk_wrong")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Nobody holds this key")
        trace = page.locator(".particulars code").inner_text().rsplit(" ", 1)[1]
        until(lambda: f'"trace_id": "{trace}"' in (tmp_path / "api").read_text(), "the line of this trace")
        assert visit.accessibility() == []
        # A key takes effect within a second of being made.
        until(lambda: _enters(page, key), "the new key's effect")
        expect(page.get_by_text("Signed in as radiology, for site site-2")).to_be_visible()
        expect(page.locator(".live")).to_contain_text("Live")
        expect(page.get_by_role("row").filter(has_text="site-2").first).to_be_visible()
        assert "site-1" not in page.content()
        assert "site-3" not in page.content()
        assert key not in page.content()
        page.reload()
        expect(page.get_by_text("Signed in as radiology")).to_be_visible()
        keys.remove("radiology")
        # Its stream ends, and with it what it may read.
        expect(question).to_be_visible(timeout=40_000)
        other = keys.add("hub-2", "--role", "coordinator")
        until(lambda: _enters(page, other), "another key")
        expect(page.get_by_role("row").filter(has_text="site-3").first).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(question).to_be_visible()
        assert page.evaluate("Object.values(sessionStorage).filter((value) => value.startsWith('fpk_')).length") == 0
        asked = [complaint for complaint in visit.complaints if "401" not in complaint]
        assert asked == []
    assert key not in (tmp_path / "api").read_text()


def _enters(page: Page, key: str) -> bool:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("button", name="Trying the key")).to_have_count(0)
    page.locator(".who strong, .key-fault").first.wait_for()
    return page.locator(".who strong").count() > 0
