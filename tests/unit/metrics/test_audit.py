"""The audit log: what it holds, in which order, page by page, and what each viewer may see of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_common.errors import Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import AllowList, EndCause, RunState
from fedpriv_metrics.audit import AuditLog, audit_page, cursor_of, parse_cursor
from fedpriv_metrics.exports import as_csv, as_ndjson
from fedpriv_metrics.index import Index
from fedpriv_metrics.models.audit import AuditEntry, AuditKind, AuditPage
from fedpriv_metrics.registry import Registry, StatementFacts, TermStarted
from fedpriv_metrics.viewer import Viewer
from tests.run_writer import START, Script, new_run_id
from tests.unit.metrics.scripted import parsed

DECLINED = Script(settings=RunSettings(quorum=2), refusals={"site-3": Refusal.BUDGET_EXHAUSTED})
HALTED = Script(absent={2: frozenset({"site-2"})}, last_round=4, state=RunState.HALTED, cause=EndCause.BUDGET)
MARK = {name: name * 64 for name in "abc"}


def listed(minutes: int, cause: str, **sites: str) -> AllowList:
    at = START - timedelta(hours=1) + timedelta(minutes=minutes)
    named = {name.replace("_", "-"): mark for name, mark in sites.items()}
    return AllowList.model_validate({"at": at, "cause": cause, "sites": named})


def make_log() -> AuditLog:
    index, registry = Index(), Registry()
    for hours, script in enumerate((DECLINED, HALTED)):
        run_id = new_run_id(START + timedelta(hours=hours))
        index.apply(run_id, parsed(script, run_id))
    first = index.run_ids()[0]
    at = datetime(2026, 1, 5, 9, 1, tzinfo=UTC)
    registry.statements[first] = StatementFacts(first, "statement.json", "d" * 64, at, "data", {}, ("site-3",))
    registry.terms = {1: TermStarted(started_at=START - timedelta(hours=2)), 2: TermStarted(started_at=START)}
    registry.allow_lists = {
        "1": listed(0, "start", site_1=MARK["a"], site_2=MARK["b"]),
        "2": listed(5, "change", site_1=MARK["c"], site_2=MARK["b"]),
        "3": listed(9, "start", site_1=MARK["c"]),
    }
    registry.revision = 1
    return AuditLog(index, registry)


def everything(log: AuditLog, viewer: Viewer | None = None, limit: int = 1000) -> list[AuditEntry]:
    return audit_page(log, None, viewer or Viewer(), limit=limit).entries


def test_it_tells_what_an_auditor_asks_newest_first() -> None:
    entries = everything(make_log())

    assert [entry.at for entry in entries] == sorted((entry.at for entry in entries), reverse=True)
    assert len({entry.id for entry in entries}) == len(entries)
    whats = [entry.what for entry in entries]
    for what in (
        *("run_began", "site_joined", "site_declined", "site_offline", "run_finished", "run_halted"),
        *("statement_published", "server_started", "allow_list", "key_rotated", "key_revoked"),
    ):
        assert what in whats
    assert "round_closed" not in whats, "what went as planned is in the run's log"
    declined = next(entry for entry in entries if entry.what == "site_declined")
    assert (declined.site, declined.code, declined.kind) == ("site-3", "BUDGET_EXHAUSTED", AuditKind.REFUSAL)
    assert declined.object.endswith("/admissions/site-3.json")


def test_a_change_that_no_server_saw_is_told_as_the_difference() -> None:
    entries = [entry for entry in everything(make_log()) if entry.kind is AuditKind.ALLOW_LIST]
    rotated = next(entry for entry in entries if entry.what == "key_rotated")
    assert (rotated.site, rotated.digest) == ("site-1", MARK["c"])
    revoked = next(entry for entry in entries if entry.what == "key_revoked")
    assert (revoked.site, revoked.level) == ("site-2", "warning")
    assert revoked.text.endswith("while no server ran")


@given(st.integers(1, 30))
def test_pages_joined_are_the_whole(limit: int) -> None:
    log = make_log()
    joined: list[AuditEntry] = []
    page = audit_page(log, None, Viewer(), limit=limit)
    while True:
        joined += page.entries
        assert page.total == len(log.entries())
        if page.next_cursor is None:
            break
        page = audit_page(log, None, Viewer(), before=parse_cursor(page.next_cursor), limit=limit)
    assert joined == everything(log)


def test_a_cursor_holds_its_place_while_newer_entries_come() -> None:
    log = make_log()
    first = audit_page(log, None, Viewer(), limit=4)
    cursor = parse_cursor(cursor_of(first.entries[-1]))
    rest = audit_page(log, None, Viewer(), before=cursor, limit=1000).entries
    log._registry.terms[3] = TermStarted(started_at=START + timedelta(days=9))
    log._registry.revision += 1

    assert everything(log)[0].what == "server_started"
    assert audit_page(log, None, Viewer(), before=cursor, limit=1000).entries == rest


@pytest.mark.parametrize("text", ["", "x", "%%%", "MTIz", "fHw", "é", "A" * 300, "MXwAAA"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cursor(text)


def test_filters_narrow_and_count() -> None:
    log = make_log()

    def page(**question: object) -> AuditPage:
        return audit_page(log, None, Viewer(), **question)  # type: ignore[arg-type]

    refused = page(kinds=frozenset({AuditKind.REFUSAL}))
    assert {entry.kind for entry in refused.entries} == {AuditKind.REFUSAL}
    assert refused.total == len(refused.entries)
    assert {entry.site for entry in page(site="site-3").entries} == {"site-3"}
    run_id = log._index.run_ids()[0]
    assert {entry.run_id for entry in page(run_id=run_id).entries} == {run_id}


def test_a_site_sees_itself_and_what_concerns_all() -> None:
    entries = everything(make_log(), Viewer(site="site-2"))
    assert {entry.site for entry in entries} == {None, "site-2"}
    assert all(other not in entry.text for entry in entries for other in ("site-1", "site-3"))


def test_a_site_is_told_no_key_beside_the_runs_that_may_name_another() -> None:
    log = make_log()
    log._registry.malformed = {"v1/beside/site-3.json": START}
    log._registry.revision += 1
    assert "site-3.json" in str(everything(log))
    assert "site-3" not in str(everything(log, Viewer(site="site-2")))


def test_what_did_not_change_is_not_told_anew() -> None:
    log = make_log()
    before = log.entries()
    assert log.entries() is before
    log._registry.revision += 1
    assert log.entries() == before
    assert log.entries() is not before


def test_exports_hold_every_field_and_run_nothing() -> None:
    entries = everything(make_log())
    lines = as_ndjson(entries).splitlines()
    assert [AuditEntry.model_validate_json(line) for line in lines] == entries
    hostile = entries[0].model_copy(update={"run": '=HYPERLINK("x")', "text": "-1, or\nmore"})
    table = as_csv(AuditEntry, [hostile]).decode()
    header = table.split("\r\n", 1)[0].split(",")
    assert header == list(AuditEntry.model_fields)
    assert '"\'=HYPERLINK(""x"")"' in table
    assert '"\'-1, or\nmore"' in table
