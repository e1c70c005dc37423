"""A site is told of itself and of the global model; of others it learns how many there are, and nothing else."""

from __future__ import annotations

import json

import pytest

from fedpriv_common.errors import Refusal
from fedpriv_common.objects import parse
from fedpriv_metrics import seed
from fedpriv_metrics.answers import METRIC_NAMES, metric_series, newest, run_detail, run_page
from fedpriv_metrics.app import describe
from fedpriv_metrics.frontier import frontiers
from fedpriv_metrics.gate import PUBLIC
from fedpriv_metrics.index import Index
from fedpriv_metrics.narration import run_log
from fedpriv_metrics.privacy import run_privacy
from fedpriv_metrics.viewer import Role, Viewer, viewer_of_request
from tests.run_writer import Script, encode, new_run_id, run_steps

OWN, OTHERS = "site-1", ("site-2", "site-3", "site-4")
SITE = Viewer(site=OWN, role=Role.SITE, name="own")
TROUBLED = Script(
    sites=(OWN, *OTHERS),
    refusals={"site-4": Refusal.POLICY_REFUSED},
    absent={3: frozenset({"site-2"}), 4: frozenset({OWN})},
)


def indexed(script: Script) -> Index:
    index, run_id = Index(), new_run_id()
    for _, objects in run_steps(run_id, script):
        index.apply(run_id, [parse(key, run_id, body) for key, body in encode(objects).items()])
    return index


def test_no_answer_to_a_site_names_another() -> None:
    index = indexed(TROUBLED)
    run = newest(index, SITE)
    assert run is not None
    answers = [
        run_page(index, 9, None, None, None, SITE).model_dump_json(),
        run_detail(run, SITE).model_dump_json(),
        run_privacy(run, lambda _: 3, SITE).model_dump_json(),
        run_log(run, 999, SITE).model_dump_json(),
        seed.rows(run, SITE).decode(),
        frontiers(index, "accuracy", None, 9, SITE).model_dump_json(),
        *(metric_series(run, name, None, 0, 99, 99, SITE).model_dump_json() for name in METRIC_NAMES),
        *(event.decode() for event in run.feed.after(type(run.feed.seq)(), 999, SITE.sees_event).events),
        *(event.decode() for event in index.feed.after(type(run.feed.seq)(), 999, SITE.sees_listed).events),
    ]
    for answer in answers:
        assert not [site for site in OTHERS if site in answer]
    assert f'"{OWN}"' in answers[2]


def test_a_site_still_reads_that_a_round_went_wrong_and_how_many_were_missing() -> None:
    run = newest(indexed(TROUBLED))
    assert run is not None
    told = {entry.round: entry for entry in run_log(run, 999, SITE).entries if entry.kind == "round_closed"}
    assert (told[3].level, told[2].level) == ("warning", "ok")
    assert "2 of 3 sites" in told[3].text
    assert "no answer from site-1" in told[4].text


def test_the_worst_epsilon_that_a_site_reads_is_its_own() -> None:
    run = newest(indexed(TROUBLED))
    assert run is not None
    rows = json.loads(seed.rows(run, SITE))
    last = {row["site"]: row["epsilon"] for row in rows}
    assert set(last) == {"global", OWN}
    assert last["global"] == last[OWN]


def test_a_run_without_the_site_does_not_exist_for_it() -> None:
    index = indexed(Script(sites=OTHERS[:3]))
    assert run_page(index, 9, None, None, None, SITE).runs == []
    assert newest(index, SITE) is None
    assert frontiers(index, "accuracy", None, 9, SITE).frontiers == []
    assert index.feed.after(type(index.feed.seq)(), 99, SITE.sees_listed).events == []
    assert len(index.feed.after(type(index.feed.seq)(), 99, Viewer().sees_listed).events) == 2


def test_a_run_appears_to_a_site_once_it_has_answered_and_to_others_once() -> None:
    index = indexed(Script())
    kinds = [b"run_status", b"run_status"]
    for viewer in (SITE, Viewer()):
        events = index.feed.after(type(index.feed.seq)(), 99, viewer.sees_listed).events
        told = [event.split(b"\n")[0].removeprefix(b"event: ") for event in events]
        assert told[-2:] == kinds
        assert len(told) == (3 if viewer is SITE else 2)


def test_every_route_asks_who_reads() -> None:
    """A route that forgets the viewer would tell a site of others."""
    forgetful = []
    for route in describe().routes:
        dependant = getattr(route, "dependant", None)
        if dependant is None or route.path in PUBLIC:
            continue
        asked = [needed.call for needed in dependant.dependencies]
        if not any(call is viewer_of_request or getattr(call, "__name__", "") == "admit" for call in asked):
            forgetful.append(route.path)
    assert forgetful == []


@pytest.mark.parametrize("role", list(Role))
def test_figures_of_other_sites_are_for_those_who_answer_for_all(role: Role) -> None:
    viewer = Viewer(site=OWN if role is Role.SITE else None, role=role)
    assert viewer.sees("site-2") is (role is not Role.SITE)
    assert viewer.sees("global")
    assert viewer.sees(OWN)
