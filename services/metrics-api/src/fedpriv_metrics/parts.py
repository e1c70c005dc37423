"""A site's part in each run: what it said of its budget, what it released, how it stands. Pure but for what is kept.

The API knows what sites tell: their facts at admission and with each release. Nothing here adds epsilons up; a
lifetime's epsilon is composed at the site, from its ledger, and told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fedpriv_common.records import EventKind, RunEvent, RunState
from fedpriv_common.wire import OK, SiteFacts
from fedpriv_metrics.answers import known
from fedpriv_metrics.index import Index, RunIndex
from fedpriv_metrics.privacy import refusal, silent_since
from fedpriv_metrics.seq import Seq

Standing = Literal["in_run", "offline", "awaiting_approval", "not_joined", "declined", "idle", "enrolled", "revoked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is known of one site in one run."""

    run_id: str
    name: str
    state: RunState
    dataset: str
    site: str
    created_at: datetime
    ended_at: datetime | None
    #: When it answered the plan.
    answered_at: datetime | None
    #: It answered the plan with this refusal, so that nothing of the run was ever charged there.
    declined: str | None
    #: It refused a later round with this code.
    refused: str | None
    admitted: SiteFacts | None
    #: The newest that it told in this run, and when.
    facts: SiteFacts | None
    told_at: datetime | None
    last_heard: datetime | None
    silent_since: datetime | None
    waiting_since: datetime | None
    rounds: int
    missed: int
    late: int
    bad: int
    stock: bool
    evaluations: int
    #: Pure epsilon of those evaluations, and of those that the newest facts do not hold yet.
    epsilon_evaluations: float
    epsilon_evaluations_untold: float

    @property
    def active(self) -> bool:
        """Whether the run goes on."""
        return self.state is RunState.ACTIVE

    @property
    def code(self) -> str | None:
        """The refusal that stands, if one does."""
        return self.declined or self.refused

    @property
    def epsilon_held_out(self) -> float | None:
        """Lifetime epsilon of the held-out records: what was told, and what was released since. Pure epsilons add."""
        return self.facts.epsilon_held_out + self.epsilon_evaluations_untold if self.facts else None

    @property
    def standing(self) -> Standing:
        """How the site stands, as far as this run tells."""
        if self.active and self.declined:
            return "declined"
        if self.active and self.waiting_since:
            return "awaiting_approval"
        if self.silent_since:
            return "offline"
        if self.answered_at is None:
            return "not_joined"
        return "in_run" if self.active else "idle"


class Parts:
    """Every site's part in every run. What is known of a run is worked out again only when the run has changed."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: dict[str, tuple[Seq, tuple[Part, ...]]] = {}

    def all(self) -> list[Part]:
        """In the order in which the runs began; a run's sites by name."""
        found: list[Part] = []
        for run_id in self._index.run_ids():
            run = self._index.run(run_id)
            if run is None:
                continue
            kept = self._kept.get(run_id)
            if kept is None or kept[0] != run.seq:
                kept = self._kept[run_id] = (run.seq, tuple(parts_of(run)))
            found += kept[1]
        return found


def parts_of(run: RunIndex) -> list[Part]:
    """Each site that the run knows of or asked to take part, by name."""
    events: dict[str, list[RunEvent]] = {}
    for event in run.events.values():
        if event.site is not None:
            events.setdefault(event.site, []).append(event)
    # Rounds differ little in who was asked and who answered: each kind is looked at once.
    kinds = Counter((closed.expected, closed.received, tuple(closed.refused)) for closed in run.rounds.values())
    missed: Counter[str] = Counter()
    for (expected, received, refused), times in kinds.items():
        for site in {*expected} - {*received} - {*refused}:
            missed[site] += times
    return [
        _part(run, site, missed[site], events.get(site, [])) for site in sorted({*run.sites(), *run.asked, *events})
    ]


def _part(run: RunIndex, site: str, missed: int, events: list[RunEvent]) -> Part:
    info, admission, figures = known(run), run.admissions.get(site), run.figures.get(site)
    facts, told_at = run.facts(site), admission.at if admission and admission.facts else None
    if figures is not None and figures.facts is not None:
        told_at = figures.last_reply
    told = Counter(event.kind for event in events)
    # All that a site does itself; that it is offline the server says.
    heard = [event.at for event in events if event.kind is not EventKind.SITE_OFFLINE]
    heard += [admission.at] if admission else []
    heard += [figures.last_reply] if figures and figures.last_reply else []
    waits = [event.at for event in events if event.kind is EventKind.AWAITING_APPROVAL]
    released = [number for number, entry in run.evaluations.items() if entry.counts.get(site) is not None]
    # A round's evaluation follows its training: facts told in that training do not hold it.
    last_told, _ = figures.facts_from if figures else (-1, -1)
    untold = [number for number in released if number >= last_told]
    declined = admission.code if admission and admission.code != OK else None
    code = refusal(run, site)
    return Part(
        run_id=run.run_id,
        name=info.settings.name,
        state=run.state,
        dataset=info.plan.dataset,
        site=site,
        created_at=info.created_at,
        ended_at=run.end.ended_at if run.end else None,
        answered_at=admission.at if admission else None,
        declined=declined,
        refused=None if declined else code,
        admitted=admission.facts if admission else None,
        facts=facts,
        told_at=told_at,
        last_heard=max(heard, default=None),
        silent_since=None if code else silent_since(run, site),
        waiting_since=None if admission else min(waits, default=None),
        rounds=len(figures.epsilon_run) if figures else 0,
        missed=missed,
        late=told[EventKind.LATE_REPLY],
        bad=told[EventKind.BAD_REPLY],
        stock=told[EventKind.STOCK_NODE] > 0,
        evaluations=len(released),
        epsilon_evaluations=sum(run.evaluations[number].epsilon for number in released),
        epsilon_evaluations_untold=sum(run.evaluations[number].epsilon for number in untold),
    )
