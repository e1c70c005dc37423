"""The audit log: over all runs and beside them, what somebody who was not there has to know. Pure logic.

Every entry names the object that it is read from, so that whoever doubts it can look. Rounds that went as planned are
not in it; they are in each run's own log.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime

from fedpriv_common import keys
from fedpriv_common.records import AllowList
from fedpriv_common.wire import OK
from fedpriv_metrics import narration
from fedpriv_metrics.answers import known
from fedpriv_metrics.index import Index, RunIndex
from fedpriv_metrics.models.audit import AuditEntry, AuditKind, AuditPage
from fedpriv_metrics.models.log import LogEntry
from fedpriv_metrics.registry import Registry, StatementFacts
from fedpriv_metrics.viewer import Viewer

_CURSOR = re.compile(r"^[0-9]{1,20}\|[\x21-\x7e]{1,200}$")
#: Sorts an entry: microseconds since 1970, id.
_Place = tuple[int, str]


class AuditLog:
    """Entries of every run, kept for as long as the run says the same; only what changed is told anew."""

    def __init__(self, index: Index, registry: Registry) -> None:
        self._index = index
        self._registry = registry
        self._of_runs: dict[str, tuple[str, list[AuditEntry]]] = {}
        self._state = ""
        self._entries: list[AuditEntry] = []

    @property
    def state(self) -> str:
        """Names what the entries are of."""
        runs = (self._index.run(run_id) for run_id in self._index.run_ids())
        skipped = sum(run.skipped_count for run in runs if run is not None)
        return f"{self._index.seq}.{skipped}.{self._registry.revision}"

    def entries(self) -> list[AuditEntry]:
        """Every entry, oldest first."""
        if self._state != self.state:
            found = [entry for run_id in self._index.run_ids() for entry in self._run(run_id)]
            found += _servers(self._registry)
            found += _allow_lists(self._registry)
            found += _malformed(self._registry)
            found.sort(key=_place)
            self._entries, self._state = found, self.state
        return self._entries

    def runs_of(self, site: str) -> set[str]:
        """Ids of the runs that the site knows of."""
        runs = (self._index.run(run_id) for run_id in self._index.run_ids())
        return {run.run_id for run in runs if run is not None and site in run.sites()}

    def _run(self, run_id: str) -> list[AuditEntry]:
        run, statement = self._index.run(run_id), self._registry.statements.get(run_id)
        if run is None:
            return []
        state = f"{run.seq}.{run.skipped_count}.{statement.digest if statement else ''}"
        held = self._of_runs.get(run_id)
        if held is None or held[0] != state:
            held = state, list(run_entries(run, statement))
            self._of_runs[run_id] = held
        return held[1]


def audit_page(
    log: AuditLog,
    read_at: datetime | None,
    viewer: Viewer,
    *,
    kinds: frozenset[AuditKind] = frozenset(),
    site: str | None = None,
    run_id: str | None = None,
    before: _Place | None = None,
    limit: int = 100,
) -> AuditPage:
    """Newest first, those below the cursor's place."""
    seen = None if viewer.site is None else log.runs_of(viewer.site)
    fitting = [
        entry
        for entry in log.entries()
        if (not kinds or entry.kind in kinds)
        and (site is None or entry.site == site)
        and (run_id is None or entry.run_id == run_id)
        and (entry.site is None or viewer.sees(entry.site))
        and (seen is None or entry.run_id is None or entry.run_id in seen)
        # Beside the runs a key that cannot be read may name any site or run.
        and (seen is None or entry.run_id is not None or entry.kind is not AuditKind.MALFORMED)
    ]
    end = len(fitting) if before is None else bisect_left(fitting, before, key=_place)
    page = fitting[max(0, end - limit) : end][::-1]
    more = end > limit
    return AuditPage(
        entries=page,
        next_cursor=cursor_of(page[-1]) if more and page else None,
        total=len(fitting),
        read_at=read_at,
    )


def cursor_of(entry: AuditEntry) -> str:
    """Names the entry's place, in letters that a URL takes as they are."""
    micros, name = _place(entry)
    return base64.urlsafe_b64encode(f"{micros}|{name}".encode()).decode().rstrip("=")


def parse_cursor(text: str) -> _Place:
    """The place that a cursor names; raises ValueError for anything that is none."""
    padded = text + "=" * (-len(text) % 4)
    plain = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    if not _CURSOR.match(plain):
        raise ValueError("not a cursor")
    micros, _, name = plain.partition("|")
    return int(micros), name


def _place(entry: AuditEntry) -> _Place:
    return round(entry.at.timestamp() * 1_000_000), entry.id


# -- a run -------------------------------------------------------------------------------------------------------------


def run_entries(run: RunIndex, statement: StatementFacts | None) -> Iterator[AuditEntry]:
    """What an auditor has to know of one run."""
    info = known(run)
    yield _told(run, narration.begun(info), AuditKind.RUN, "run.json", digest=info.plan_digest)
    for admission in run.admissions.values():
        kind, code = (AuditKind.ADMISSION, None) if admission.code == OK else (AuditKind.REFUSAL, admission.code)
        yield _told(run, narration.admitted(admission), kind, f"admissions/{admission.site}.json", code=code)
    for closed in run.rounds.values():
        for site, code in sorted(closed.refused.items()):
            yield AuditEntry(
                id=f"{run.run_id}/rounds/{closed.round:06d}/{site}",
                at=closed.closed_at,
                kind=AuditKind.REFUSAL,
                what="round_declined",
                level="problem",
                run_id=run.run_id,
                run=info.settings.name,
                site=site,
                round=closed.round,
                code=code,
                digest=None,
                text=f"{site} declined round {closed.round}: {narration.because(code)}",
                object=keys.round_closed(run.run_id, closed.round),
            )
    for event in run.events.values():
        yield _told(run, narration.event(event), AuditKind.ANSWER, f"events/{event.event_id}.json")
    for key, why in run.skipped.items():
        yield AuditEntry(
            id=f"{run.run_id}/skipped/{key}",
            # It tells no time that could be believed; the run's own stands for it.
            at=run.end.ended_at if run.end else info.created_at,
            kind=AuditKind.MALFORMED,
            what="object_skipped",
            level="warning",
            run_id=run.run_id,
            run=info.settings.name,
            site=keys.site_of(key),
            round=None,
            code=None,
            digest=None,
            text=f"An object could not be read and was skipped: {why}",
            object=key,
        )
    if run.end is not None:
        yield _told(run, narration.ended(run.end), AuditKind.RUN, "end.json", code=run.end.code)
        if statement is not None:
            yield _statement(run, info.settings.name, statement, run.end.ended_at)


def _told(
    run: RunIndex, entry: LogEntry, kind: AuditKind, name: str, *, code: str | None = None, digest: str | None = None
) -> AuditEntry:
    """An entry of the run's own log, with where it is from."""
    return AuditEntry(
        id=f"{run.run_id}/{entry.id}",
        at=entry.at,
        kind=kind,
        what=entry.kind,
        level=entry.level,
        run_id=run.run_id,
        run=known(run).settings.name,
        site=entry.site,
        round=entry.round,
        code=code,
        digest=digest,
        text=entry.text,
        object=f"{keys.run_prefix(run.run_id)}{name}",
    )


def _statement(run: RunIndex, name: str, statement: StatementFacts, ended_at: datetime) -> AuditEntry:
    # No names: whoever sees the run sees this, and not every site is everybody's to see.
    readable, signed = statement.at is not None, len(statement.ledgers)
    if not readable:
        text = "What stands under the privacy statement's name is none that can be read"
    elif statement.unsigned:
        text = f"Privacy statement published: {len(statement.unsigned)} of {signed + len(statement.unsigned)} sites "
        text += "signed no part, and what is said of them is their last word to the hub"
    else:
        text = f"Privacy statement published, countersigned by the hub, with signed parts of {signed} "
        text += "site" if signed == 1 else "sites"
    return AuditEntry(
        id=f"{run.run_id}/statement",
        at=max(statement.at, ended_at) if statement.at else ended_at,
        kind=AuditKind.STATEMENT,
        what="statement_published" if readable else "statement_unreadable",
        level="problem" if not readable else "warning" if statement.unsigned else "ok",
        run_id=run.run_id,
        run=name,
        site=None,
        round=None,
        code=None,
        digest=statement.digest,
        text=text,
        object=statement.object,
    )


# -- beside the runs ---------------------------------------------------------------------------------------------------


def _servers(registry: Registry) -> Iterator[AuditEntry]:
    for number, start in registry.terms.items():
        text = f"A server started and took term {number}"
        if number > 1:
            text += f"; the one of term {number - 1} stands down if it still runs"
        yield _beside(keys.term(number), start.started_at, AuditKind.SERVER, "server_started", "info", text)


def _allow_lists(registry: Registry) -> Iterator[AuditEntry]:
    """Every start's list, and one entry for each site that a change was about, whether a server saw it or not."""
    before: AllowList | None = None
    for name, listed in sorted(registry.allow_lists.items(), key=lambda item: (item[1].at, item[0])):
        key = keys.allow_list(name)
        if listed.cause == "start":
            count = f"{len(listed.sites)} site{'s' * (len(listed.sites) != 1)}"
            text = f"The server began with {count} on its allow-list"
            yield _beside(key, listed.at, AuditKind.ALLOW_LIST, "allow_list", "info", text)
        changes = _changes(before.sites, listed.sites) if before else ()
        while_away = " while no server ran" if listed.cause == "start" else ""
        for site, what, text, fingerprint in changes:
            level = "warning" if what == "key_revoked" else "info"
            yield _beside(key, listed.at, AuditKind.ALLOW_LIST, what, level, f"{text}{while_away}", site, fingerprint)
        before = listed


def _changes(before: dict[str, str], after: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Site, kind of change, sentence, and the fingerprint that it is about."""
    for site in sorted({*before, *after}):
        old, new = before.get(site), after.get(site)
        if old == new:
            continue
        if new is None and old is not None:
            yield site, "key_revoked", f"{site} was taken off the allow-list: its key {old[:16]}… opens nothing", old
        elif old is None and new is not None:
            yield site, "site_added", f"{site} was put on the allow-list with the key {new[:16]}…", new
        elif old is not None and new is not None:
            text = f"{site} has another key: {new[:16]}… in place of {old[:16]}…; its ledger stays the same"
            yield site, "key_rotated", text, new


def _malformed(registry: Registry) -> Iterator[AuditEntry]:
    for key, at in sorted(registry.malformed.items()):
        text = f"{key} is not what its name says and was skipped"
        yield _beside(key, at, AuditKind.MALFORMED, "object_skipped", "warning", text)


def _beside(
    key: str,
    at: datetime,
    kind: AuditKind,
    what: str,
    level: str,
    text: str,
    site: str | None = None,
    digest: str | None = None,
) -> AuditEntry:
    return AuditEntry.model_validate(
        {
            "id": f"{key}#{what}" if site is None else f"{key}#{what}/{site}",
            "at": at,
            "kind": kind,
            "what": what,
            "level": level,
            "run_id": None,
            "run": None,
            "site": site,
            "round": None,
            "code": None,
            "digest": digest,
            "text": text,
            "object": key,
        }
    )
