"""What the page says of objects that could not be read, and of sites that have not answered yet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fedpriv_common import keys
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import EventKind, RunEvent
from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.page.visits import serving, visiting
from tests.run_writer import START, Script, encode, new_run_id, run_steps

pytestmark = pytest.mark.browser

#: Two sites have joined; one waits for a person there, and one has not answered.
WAITING = Script(settings=RunSettings(sites=4), sites=("site-1", "site-2"), pending=("site-3", "site-4"))


def write(store: ObjectStore) -> str:
    run_id = new_run_id()
    for name, objects in run_steps(run_id, WAITING):
        for key, body in encode(objects).items():
            store.put_once(key, body)
        if name == "admissions":
            break
    event = RunEvent(run_id=run_id, event_id="E1", at=START, kind=EventKind.AWAITING_APPROVAL, site="site-3")
    store.put_once(keys.event(run_id, "E1"), event.model_dump_json().encode())
    store.put_once(keys.event(run_id, "E2"), b"{no object")
    store.put_once(keys.record(run_id, 1, "site-1", Phase.TRAIN), b'{"round": "<script>"}')
    return run_id


def test_unreadable_objects_are_named_quietly_and_sites_that_are_waited_for_by_name(
    browser: Browser, object_store: ObjectStore, emulator: Emulator, tmp_path: Path
) -> None:
    run_id = write(object_store)
    with (
        running(Api.over(object_store, emulator, tmp_path / "api")) as api,
        serving(api, tmp_path / "page") as address,
        visiting(browser, f"{address}/?run={run_id}") as visit,
    ):
        notice = visit.page.locator(".notice")
        expect(notice.locator("summary")).to_contain_text("2 objects of this run could not be read.")
        expect(visit.page.locator(".strip")).to_contain_text("site-3 waits for approval there")
        expect(visit.page.get_by_role("row", name="site-3")).to_contain_text("Awaits approval there")
        expect(visit.page.get_by_role("row", name="site-4")).to_contain_text("Not yet joined")
        notice.locator("summary").click()
        expect(notice.get_by_role("listitem")).to_have_count(2)
        expect(notice).to_contain_text("events/E2.json it is not JSON")
        visit.faultless()
        if folder := os.environ.get("FEDPRIV_LOOK"):
            for theme in ("light", "dark"):
                visit.page.emulate_media(color_scheme=theme)
                for width in (1440, 390):
                    visit.page.set_viewport_size({"width": width, "height": 900})
                    visit.page.screenshot(path=f"{folder}/storage-{theme}-{width}.png")
