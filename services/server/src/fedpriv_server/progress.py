"""A run on the terminal: a bar where a person watches, plain lines where nobody does."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedpriv_common.errors import Refusal
from fedpriv_common.records import RunState
from fedpriv_common.rounding import spell_limit, spell_spent
from fedpriv_server.status import RunStatus, Waiting


def show_progress(statuses: Iterable[RunStatus], console: Console) -> RunStatus:
    """Show every status until there are no more; returns the last. Raises ValueError if there was none."""
    last = _bar(statuses, console) if console.is_terminal else _lines(statuses, console)
    if last is None:
        raise ValueError("a run has at least one status")
    for site in last.sites:
        if site.stock:
            console.print(
                f"Note: {site.site} runs Flower's own node, which has no ledger: it takes no part", soft_wrap=True
            )
    if last.warning:
        console.print(f"Note: {last.warning}", soft_wrap=True)
    return last


def spell_cancelled(status: RunStatus) -> str:
    """What became of asking for a run's end."""
    if status.state is RunState.CANCELLED:
        fate = "is cancelled"
    elif status.state is not RunState.ACTIVE:
        fate = f"had ended already: {status.state.value}"
    elif status.decided is RunState.CANCELLED:
        fate = "is being cancelled, whatever happens to the server"
    elif status.decided is not None:
        fate = f"was about to end already: {status.decided.value}"
    else:
        fate = "is being cancelled, but the server has not written that down yet: ask again, or see its log"
    return f"{status.run_id} {fate}"


def _bar(statuses: Iterable[RunStatus], console: Console) -> RunStatus | None:
    last = None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task: TaskID | None = None
        for last in statuses:
            if task is None:
                task = progress.add_task("waiting for sites", total=last.rounds, figures="")
            progress.update(task, completed=last.round, description=_stage(last), figures=_figures(last))
    return last


def _lines(statuses: Iterable[RunStatus], console: Console) -> RunStatus | None:
    last, said = None, ""
    for last in statuses:
        line = f"{_stage(last)}, round {last.round} of {last.rounds}"
        if line != said:
            figures = _figures(last)
            console.print(line + (f"  {figures}" if figures else ""), soft_wrap=True, highlight=False)
            said = line
    return last


def _stage(status: RunStatus) -> str:
    if status.cause is not None:
        return status.state.value
    unapproved = [site.site for site in status.sites if site.code == Refusal.APPROVAL_NEEDED]
    if unapproved and status.round == 0:
        return f"waiting for a person's approval at {', '.join(unapproved)}"
    if status.waiting is not None and status.waiting.sites:
        return _waiting(status, status.waiting)
    if status.round > 0:
        return "training"
    answered = sum(site.code is not None for site in status.sites)
    if answered < len(status.sites):
        return f"waiting for sites ({answered} of {len(status.sites)} answered)"
    return "centring"


def _waiting(status: RunStatus, waiting: Waiting) -> str:
    """Until when the run stands still, and at whom to look."""
    online = {site.site: site.online for site in status.sites}
    sites = ", ".join(site if online.get(site) else f"{site} (offline)" for site in waiting.sites)
    then = f", then halts: {waiting.lacking} more must answer" if waiting.lacking else ""
    return f"waiting for {sites} until {waiting.until.astimezone():%H:%M:%S}{then}"


def _figures(status: RunStatus) -> str:
    """Accuracy on public records, its interval on the sites' own, the epsilon of the site that has spent most."""
    parts = []
    accuracy = status.metrics.get("accuracy")
    if accuracy is not None:
        parts.append(f"accuracy {100 * accuracy:.1f} %")
    held_out = status.held_out.get("accuracy")
    if held_out is not None:
        # Each end to its own side: an interval is never told narrower than it is.
        parts.append(f"held-out {math.floor(100 * held_out.low)}–{math.ceil(100 * held_out.high)} %")
    spent = [site.epsilon_run for site in status.sites if site.epsilon_run is not None]
    if spent:
        parts.append(f"ε {spell_spent(max(spent))} of {spell_limit(status.epsilon)}")
    return "  ".join(parts)
