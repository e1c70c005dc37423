"""What happened in a run, as a person reads it: one sentence with cause and consequence."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.records import Admission, EndCause, EventKind, RoundClosed, RunEnd, RunEvent, RunInfo, RunState
from fedpriv_common.rounding import spell_limit, spell_spent
from fedpriv_common.wire import OK
from fedpriv_metrics.index import RunIndex
from fedpriv_metrics.models.log import LogEntry, RunLog
from fedpriv_metrics.viewer import Viewer

Level = Literal["ok", "info", "warning", "problem"]
_ANYBODY = Viewer()

REFUSALS: dict[str, str] = {
    Refusal.BAD_REQUEST: "the request was not of the agreed form",
    Refusal.BAD_PARAMETERS: "the parameters did not fit the model",
    Refusal.UNKNOWN_APP: "its image does not hold the application that was asked for",
    Refusal.CONTRACT_MISMATCH: "it holds another data contract than the server",
    Refusal.POLICY_REFUSED: "the plan asks for more than its policy allows",
    Refusal.BUDGET_EXHAUSTED: "its privacy budget cannot pay for it",
    Refusal.NOT_ADMITTED: "it never admitted the run",
    Refusal.REQUEST_CHANGED: "a round was asked again with other contents",
    Refusal.RUN_CLOSED: "it has closed the run and releases nothing more",
    Refusal.LEDGER_UNAVAILABLE: "its ledger cannot be read or written",
    Refusal.LEDGER_ROLLED_BACK: "its ledger was set back, and it releases nothing until that is explained",
    Refusal.APPROVAL_NEEDED: "no person there has approved it in time",
    Refusal.INTERNAL: "a fault at the site, whose own log has the reason",
}

CAUSES: dict[EndCause, str] = {
    EndCause.COMPLETE: "every round is done",
    EndCause.QUORUM: "too few sites answered",
    EndCause.BUDGET: "a site's privacy budget cannot pay for more",
    EndCause.REFUSED: "a site declined the plan",
    EndCause.DEADLINE: "its time was over",
    EndCause.OPERATOR: "an operator ended it",
    EndCause.INTERNAL: "a fault at the server, whose log has the reason",
}


def run_log(run: RunIndex, limit: int, viewer: Viewer = _ANYBODY) -> RunLog:
    """The newest `limit` entries that the viewer may read, newest first. Other sites are counted, not named."""
    entries = [admitted(entry) for entry in run.admissions.values() if viewer.sees(entry.site)]
    entries += [_closed(entry, viewer) for entry in run.rounds.values()]
    entries += [event(entry) for entry in run.events.values() if entry.site is None or viewer.sees(entry.site)]
    if run.info:
        entries.append(begun(run.info))
    if run.end:
        entries.append(ended(run.end))
    entries.sort(key=lambda entry: (entry.at, entry.id), reverse=True)
    return RunLog(run_id=run.run_id, seq=str(run.seq), entries=entries[:limit])


def site_entries(run: RunIndex, site: str) -> list[LogEntry]:
    """What the log tells of one site and of no other."""
    entries = [event(entry) for entry in run.events.values() if entry.site == site]
    if site in run.admissions:
        entries.append(admitted(run.admissions[site]))
    return entries


def begun(info: RunInfo) -> LogEntry:
    """The run's beginning."""
    plan = info.plan
    text = (
        f"Run {info.settings.name} began: {_count(plan.sites, 'site')}, {_count(plan.rounds, 'round')}, "
        f"at most ε {spell_limit(plan.epsilon)} (δ {_power(plan.delta)}) for each {plan.unit}"
    )
    return _entry("run", info.created_at, "info", "run_began", text)


def admitted(admission: Admission) -> LogEntry:
    """A site's answer to the plan."""
    site, facts = admission.site, admission.facts
    level: Level = "ok"
    kind, text = "site_joined", f"{site} joined the run"
    if admission.code != OK:
        level, kind, text = "problem", "site_declined", f"{site} declined the run: {because(admission.code)}"
    elif facts is not None:
        text = (
            f"{site} joined: ε {spell_spent(facts.epsilon_spent)} of {spell_limit(facts.epsilon_limit)} is spent, "
            f"{spell_spent(facts.epsilon_planned)} when the run has ended as planned"
        )
    return _entry(f"admissions/{site}", admission.at, level, kind, text, site=site)


def _closed(closed: RoundClosed, viewer: Viewer) -> LogEntry:
    name = f"Round {closed.round}" + (" (centring)" if closed.phase is Phase.CENTRE else "")
    parts = [
        f"{name} closed: {len(closed.received)} of {_count(len(closed.expected), 'site')}, {closed.duration_ms:,.0f} ms"
    ]
    parts += [f"{site} declined, {because(code)}" for site, code in sorted(closed.refused.items()) if viewer.sees(site)]
    silent = [site for site in closed.expected if site not in closed.received and site not in closed.refused]
    level: Level = "warning" if silent or closed.refused else "ok"
    if silent := [site for site in silent if viewer.sees(site)]:
        parts.append(f"no answer from {', '.join(silent)}")
    identity = f"rounds/{closed.round:06d}"
    return _entry(identity, closed.closed_at, level, "round_closed", "; ".join(parts), number=closed.round)


def event(event: RunEvent) -> LogEntry:
    """What happened between round closes."""
    site = event.site or "A site"
    number = "a round" if event.round is None else f"round {event.round}"
    level: Level = "warning"
    match event.kind:
        case EventKind.SITE_OFFLINE:
            text = f"{site} is offline: the round waits for it until its deadline"
        case EventKind.SITE_BACK:
            level, text = "ok", f"{site} is back and is asked for the current round again"
        case EventKind.LATE_REPLY:
            text = f"{site} answered {number} after it had closed: the reply was discarded, its cost stays charged"
        case EventKind.BAD_REPLY:
            level, text = "problem", f"{site} answered {number} with what the plan does not foresee: it was discarded"
        case EventKind.AWAITING_APPROVAL:
            level, text = "info", f"{site} waits for a person there to approve the plan, and is asked again until then"
        case EventKind.STOCK_NODE:
            level, text = "problem", f"{site} runs Flower's own node, which has no ledger: it takes no part"
        case EventKind.RUN_RESUMED:
            after = "" if event.round is None else f" after round {event.round}"
            level, text = "info", f"The server was started again and the run goes on{after}: nothing is paid twice"
    return _entry(f"events/{event.event_id}", event.at, level, event.kind, text, event.site, event.round)


def ended(end: RunEnd) -> LogEntry:
    """The run's end."""
    level: Level = "ok" if end.state is RunState.FINISHED else "problem"
    model = "the model is published" if end.model_digest else "no model is published"
    after = f"after {_count(end.rounds, 'round')} in {end.duration_s:,.1f} s"
    code = f" ({end.code})" if end.code else ""
    text = f"Run {end.state} {after}: {CAUSES[end.cause]}{code}; {model}"
    return _entry("end", end.ended_at, level, f"run_{end.state}", text)


def _entry(
    identity: str,
    at: datetime,
    level: Level,
    kind: str,
    text: str,
    site: str | None = None,
    number: int | None = None,
) -> LogEntry:
    return LogEntry(id=identity, at=at, level=level, kind=kind, site=site, round=number, text=text)


def because(code: str) -> str:
    """A refusal's code in words."""
    return f"{REFUSALS.get(code, 'with a code that is not known here')} ({code})"


def _power(delta: float) -> str:
    return f"{delta:g}".replace("e-0", "e-")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
