"""What a run asks for, in plain words, for the person who approves it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedpriv_client.privacy.ledger.history import History
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.privacy.requests import RunRequest
from fedpriv_common.accounting import Adjacency, epsilon, group_epsilon
from fedpriv_common.contract import DataContract
from fedpriv_common.plan import Phase, Plan, Release
from fedpriv_common.rounding import spell_left, spell_limit, spell_spent

_WHOM: Final = {"record": "one record", "patient": "one patient with all their records"}


def standing(history: History, run_id: str, plan_digest: str) -> str:
    """Where a request stands, by what the ledger says of it."""
    run, said = history.runs.get(run_id), history.approvals.get((run_id, plan_digest))
    by = f" by {said.by}, {said.at:%Y-%m-%d %H:%M} UTC" if said else ""
    if run is not None:
        return f"{'ended' if run.closed else 'admitted'}{', granted' + by if said and said.granted else ''}"
    if said is None:
        return "waiting"
    return ("granted" if said.granted else "denied") + by


def describe(request: RunRequest, history: History, policy: Policy, contract: DataContract) -> str:
    """Everything that a person has to know before they approve, line by line."""
    plan = request.plan
    rows = [
        ("run", request.run_id),
        ("plan", plan.digest()),
        ("asked by", f"{request.server}, {request.asked_at:%Y-%m-%d %H:%M} UTC"),
        ("stands", standing(history, request.run_id, plan.digest())),
        ("recipe", _recipe(plan)),
        ("model", _model(plan)),
        *(("releases", _release(release, plan.unit)) for release in (plan.centre, plan.train) if release is not None),
        *_evaluation(plan),
        *_cost(plan, history, policy, contract),
        *_several(plan, policy, contract),
    ]
    return "\n".join(f"{name:<10}{text}" for name, text in rows)


def _recipe(plan: Plan) -> str:
    options = "".join(f", {option} {value:g}" for option, value in plan.strategy_options.items())
    return f"{plan.recipe} ({plan.strategy}{options}), {_count(plan.rounds, 'round')}, {_count(plan.sites, 'site')}"


def _model(plan: Plan) -> str:
    model = plan.model
    return f"{model.kind}, {model.n_features} features, {model.n_classes} classes, {model.n_parameters} parameters"


def _release(release: Release, unit: str) -> str:
    """One kind of message that leaves the site, as what it is."""
    of = "features" if release.phase is Phase.CENTRE else "gradients"
    sampled = "" if release.sample_rate == 1.0 else f" of {release.steps} samples of {release.sample_rate:.1%} each"
    mean = "" if unit == "record" else ", the mean of a patient's taken"
    return (
        f"{_count(release.rounds, 'noisy sum')} of the {unit}s' {of}{sampled}: each record cut to length "
        f"{release.max_grad_norm:.3g}{mean}, noise of {release.noise_multiplier:.3g} times that length"
    )


def _evaluation(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.evaluate is not None:
        tables, each = _count(len(plan.evaluate.at), "noisy table"), f"ε {spell_spent(plan.evaluate.epsilon, 4)} each"
        yield "", f"{tables} of right and wrong predictions on records kept from training, {each}"


def _cost(plan: Plan, history: History, policy: Policy, contract: DataContract) -> Iterator[tuple[str, str]]:
    delta = policy.delta_for(contract)
    before = epsilon([*history.charged(), *history.held()], delta)
    after = epsilon([*history.charged(), *history.held(), *plan.events()], delta)
    once, replaced = (spell_spent(epsilon(plan.events(), delta, adjacency)) for adjacency in Adjacency)
    yield "this run", f"ε {once} at δ {delta:g}, adding or removing {_WHOM[plan.unit]}; ε {replaced}, exchanging it"
    yield "lifetime", f"ε {spell_spent(before)} of {spell_limit(policy.epsilon)} is spent or held by open runs"
    if after > policy.epsilon:
        yield "", f"ε {spell_spent(after)} with this run, which is too much: it is refused even if it is granted"
    else:
        left = spell_left(policy.epsilon - after)
        yield "", f"ε {spell_spent(after)} with this run, so that {left} remain"


def _several(plan: Plan, policy: Policy, contract: DataContract) -> Iterator[tuple[str, str]]:
    note = contract.unprotected(plan.unit)
    if note is not None:
        of_five = group_epsilon(plan.events(), policy.delta_for(contract), 5)
        yield "note", f"{note} This run: ε {spell_spent(of_five)} for a patient with 5 records."


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
