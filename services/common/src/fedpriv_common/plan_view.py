"""A forecast as a person reads it on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedpriv_common.plan import Plan
from fedpriv_common.planner import Forecast, HeldOutCost, Outlook, Utility
from fedpriv_common.rounding import spell_left, spell_limit, spell_spent
from fedpriv_common.utility import Basis


def show(console: Console, answer: Forecast) -> None:
    """Print the table over epsilon, the run that was asked for, and the advice."""
    plan = answer.plan
    console.print(
        f"{plan.dataset}: {plan.nominal_size} {plan.unit}s, {plan.model.n_features} features, {plan.sites} sites, "
        f"{plan.recipe} (δ {plan.delta:g}, add/remove one {plan.unit})\n"
    )
    if answer.table:
        console.print(_table(answer.table))
        console.print()
    for heading, text in _lines(answer):
        console.print(Text(f"{heading:<10}", style="bold").append(text, style="not bold"), soft_wrap=True)
    for advice in answer.advice:
        about = f"{advice.feature}: " if advice.feature else ""
        console.print(
            Text("Note      ", style="yellow").append(f"{about}{advice.message} {advice.remedy}", style="default"),
            soft_wrap=True,
        )


def _table(rows: Sequence[Outlook]) -> Table:
    with_accuracy = any(row.utility is not None and row.utility.accuracy is not None for row in rows)
    headings = ["ε", "σ", "rounds", "points lost", *(["accuracy"] if with_accuracy else [])]
    table = Table(*headings, "lifetime ε", "such runs", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        cells = [f"{row.plan.epsilon:g}", f"{row.plan.train.noise_multiplier:.3g}", f"{row.plan.rounds}"]
        cells.append(_loss(row.utility))
        if with_accuracy:
            cells.append(_accuracy(row.utility))
        cost = row.cost
        cells += [spell_spent(cost.after), str(cost.runs_that_fit) if cost.fits else "does not fit"]
        table.add_row(*cells, style=None if cost.fits else "dim")
    return table


def _lines(answer: Forecast) -> Iterator[tuple[str, str]]:
    yield "Run", f"ε {answer.plan.epsilon:g}: {_mechanism(answer.plan)}"
    yield "Steps", _steps(answer)
    utility = answer.utility
    if utility is not None:
        loss = utility.loss
        measured = "measured on this table" if loss.basis is Basis.MEASURED else "carried over from other tables"
        yield "Accuracy", f"{_loss(utility)} points below that without privacy, in the mean over runs ({measured})"
        if utility.accuracy is not None:
            yield "", f"that is {_accuracy(utility)}"
        yield "", f"one run in ten loses more than {100 * loss.one_in_ten:.1f}"
        acceptable = f"{100 * utility.acceptable_loss:g}"
        yield "Records", f"{utility.records_needed} over all sites for an expected loss of {acceptable} or less"
    yield "Budget", _budget(answer)
    if answer.held_out.planned:
        yield "Held out", _held_out(answer.held_out)


def _mechanism(plan: Plan) -> str:
    train = plan.train
    parts = [] if plan.centre is None else [f"one centring sum with σ {plan.centre.noise_multiplier:.2f}"]
    if train.sample_rate == 1.0 and train.steps == 1:
        kind = "full-batch rounds"
    else:
        kind = f"rounds of {train.steps} steps on a sample of {100 * train.sample_rate:.3g} %"
    parts.append(f"{plan.rounds} {kind} with σ {train.noise_multiplier:.2f}")
    return ", ".join(parts)


def _steps(answer: Forecast) -> str:
    plan = answer.plan
    if plan.local_learning_rate is not None:
        return f"local rate {plan.local_learning_rate:g}, batch {plan.batch_size}, clip C {plan.train.max_grad_norm:g}"
    return (
        f"η {plan.learning_rate:.2f} at the server, L = ηT = {answer.total_step_length:.0f}, "
        f"clip C {plan.train.max_grad_norm:g}, average of rounds {plan.average_from}…{plan.rounds}"
    )


def _budget(answer: Forecast) -> str:
    cost = answer.cost
    spent = f"ε {spell_spent(cost.spent)} spent, {spell_spent(cost.after)} after it, of {spell_limit(cost.limit)}"
    if not cost.fits:
        return f"{spent} (δ {cost.delta:g}): does not fit"
    left = spell_left(cost.limit - cost.after)
    runs = "one such run fits" if cost.runs_that_fit == 1 else f"{cost.runs_that_fit} such runs fit in all"
    return f"{spent}, {left} left (δ {cost.delta:g}): {runs}; the largest single one is ε {answer.largest_epsilon:g}"


def _held_out(cost: HeldOutCost) -> str:
    spent = f"ε {spell_spent(cost.spent)} spent, {spell_spent(cost.after)} after it, of {spell_limit(cost.limit)}"
    if cost.released == cost.planned:
        return f"{spent}: {cost.planned} evaluation{'s' if cost.planned > 1 else ''}"
    return f"{spent}: {cost.released} of {cost.planned} evaluations fit, the others are left out"


def _loss(utility: Utility | None) -> str:
    if utility is None:
        return "–"
    loss = utility.loss
    return f"{100 * loss.expected:.1f} ({100 * loss.low:.1f}…{100 * loss.high:.1f})"


def _accuracy(utility: Utility | None) -> str:
    if utility is None or utility.accuracy is None:
        return "–"
    low, high = utility.accuracy
    return f"{100 * low:.1f}…{100 * high:.1f} %"
