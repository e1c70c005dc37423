"""What a run's answer says of objects that could not be read, and of sites that have not answered."""

from __future__ import annotations

from fedpriv_common import keys
from fedpriv_common.objects import Parsed
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import EventKind, RunEvent
from fedpriv_metrics.answers import run_detail
from fedpriv_metrics.compacted import Skipped
from fedpriv_metrics.index import SKIPPED_KEPT, Index, RunIndex
from fedpriv_metrics.privacy import status
from fedpriv_metrics.viewer import Viewer
from tests.run_writer import START, Script
from tests.unit.metrics.scripted import RUN, parsed

WAITING = Script(settings=RunSettings(sites=4, quorum=2), sites=("site-1", "site-2"), pending=("site-3", "site-4"))


def indexed(script: Script, upto: str) -> tuple[Index, RunIndex]:
    index = Index()
    index.apply(RUN, parsed(script, upto=upto))
    run = index.run(RUN)
    assert run is not None
    return index, run


def skipped(site: str, number: int = 1) -> Skipped:
    return Skipped(keys.record(RUN, number, site, Phase.TRAIN), "it is not JSON")


def test_sites_that_were_asked_and_have_not_answered_are_waited_for_until_the_end() -> None:
    index, run = indexed(WAITING, "admissions")
    event = RunEvent(run_id=RUN, event_id="E1", at=START, kind=EventKind.AWAITING_APPROVAL, site="site-3")
    index.apply(RUN, [Parsed(keys.event(RUN, "E1"), START, event)])
    told = [(site.site, site.awaiting_approval) for site in run_detail(run).waiting]
    assert told == [("site-3", True), ("site-4", False)]
    assert [status(run, site) for site in run.sites()] == ["within_budget", "within_budget", "waiting", "waiting"]
    assert run_detail(run, Viewer("site-4")).waiting == run_detail(run).waiting[1:]
    _, ended = indexed(WAITING, "end")
    assert run_detail(ended).waiting == []
    assert ended.sites() == ["site-1", "site-2"]


def test_the_first_objects_that_could_not_be_read_are_named_and_all_are_counted_once() -> None:
    index, run = indexed(Script(), "round 3")
    for number in (*range(1, SKIPPED_KEPT + 1), 1, 2):
        index.skip(RUN, skipped("site-9", number))
    told = run_detail(run).skipped
    assert (told.count, len(told.first)) == (SKIPPED_KEPT, 5)
    assert told.first[0].key == "records/000001/site-9.train.json"


def test_a_viewer_of_one_site_is_not_told_keys_that_name_another() -> None:
    index, run = indexed(Script(), "round 3")
    index.skip(RUN, skipped("site-1"))
    index.skip(RUN, skipped("site-2"))
    index.skip(RUN, Skipped(keys.event(RUN, "E1"), "it is not JSON"))
    told = run_detail(run, Viewer("site-1")).skipped
    assert told.count == 3
    assert [entry.key for entry in told.first] == ["events/E1.json", "records/000001/site-1.train.json"]
