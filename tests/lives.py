"""Runs of one consortium, one after the other, over ledgers that go on: for tests of what is told over all runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import BaseModel

from fedpriv_common.accounting import GaussianEvent
from tests.run_writer import START, Script, charged, new_run_id, run_steps, simulated


@dataclass
class Life:
    """What each site's ledger holds by now; every run adds to it."""

    held: dict[str, list[GaussianEvent]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    day: timedelta = timedelta(days=1)

    def elsewhere(self, site: str, events: Sequence[GaussianEvent]) -> None:
        """Releases that this hub never hears of by themselves."""
        self.held.setdefault(site, []).extend(events)

    def run(self, script: Script | None = None, upto: str = "end") -> Iterator[tuple[str, dict[str, BaseModel]]]:
        """The next run's steps, up to and including `upto`; whoever takes them all has it in the ledgers."""
        at = self.begins()
        run_id = new_run_id(at)
        self.runs.append(run_id)
        script = replace(
            script or Script(), earlier_runs={}, history={site: list(of) for site, of in self.held.items()}
        )
        for name, objects in run_steps(run_id, script, simulated(at)):
            yield name, objects
            if name == upto:
                break
        for site, rounds in _rounds(script, upto).items():
            self.elsewhere(site, charged(script.plan(), rounds))

    def begins(self) -> datetime:
        """When the next run does."""
        return START + len(self.runs) * self.day


def _rounds(script: Script, upto: str) -> Mapping[str, int]:
    """Rounds in which each site released, as the script has it."""
    plan = script.plan()
    last = plan.rounds if script.last_round is None else script.last_round
    if upto.startswith("round "):
        last = min(last, int(upto.removeprefix("round ")))
    elif upto != "end":
        return {}
    numbers = range(0 if plan.centre else 1, last + 1)
    return {
        site: sum(site not in script.absent.get(number, frozenset()) for number in numbers)
        for site in script.sites
        if site not in script.refusals
    }
