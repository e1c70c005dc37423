"""From the query of `/v1/plan` to the question that the planner is asked, and from its answer to the API's."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fedpriv_common.contract import DataContract
from fedpriv_common.errors import FedprivError
from fedpriv_common.plan import RunSettings
from fedpriv_common.planner import Forecast, PlanQuestion, require_affordable
from fedpriv_common.recipes import Recipe
from fedpriv_common.run_options import strategy_options
from fedpriv_metrics.contracts import Contracts
from fedpriv_metrics.models.plan import (
    MOST_EPSILONS,
    PlanAnswer,
    PlanContract,
    PlanHistory,
    PlannedSite,
    PlanQuery,
    PlanRefusal,
)
from fedpriv_metrics.parts import Part
from fedpriv_metrics.planner_process import Answered, Asked, Budget
from fedpriv_metrics.viewer import Viewer

#: Sites whose budgets are foretold: of a sampled run each takes the accountants a second.
MOST_SITES, MOST_SITES_SAMPLED = 20, 4
_DEFAULT_LIMIT = 8.0
_ASSUMED = (
    "This API knows a site's lifetime epsilon, not its releases: they stand here as the one full-batch Gaussian "
    "release that has this epsilon at this delta. The site's own ledger decides when the run is asked for."
)
_NOTHING = "Nothing was spent before."


class QuestionError(Exception):
    """A query that is no question: where, and why."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{where}: {message}" for where, message in faults))
        self.faults = faults


class UnknownSiteError(Exception):
    """No run on the data set names the site, or the viewer may not see it."""


@dataclass(frozen=True, slots=True)
class Told:
    """The budget of a data set at one site, as it was told last."""

    site: str
    run_id: str
    open_run: bool
    spent: float
    limit: float
    delta: float
    held_out: float

    @property
    def budget(self) -> Budget:
        """For the planner."""
        return Budget(spent=self.spent, limit=self.limit, delta=self.delta)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question, with what its answer is told with."""

    query: PlanQuery
    contract: DataContract
    asked: Asked
    #: The site that was named.
    told: Told | None
    #: Budgets that the question holds, in its order.
    sites: tuple[Told, ...]
    sites_left_out: int


def budgets_told(parts: Iterable[Part], dataset: str, viewer: Viewer) -> list[Told]:
    """Of every site that the viewer sees and that has told of the data set, least left first. What an open run will
    have spent at its planned end counts as spent."""
    newest: dict[str, Part] = {}
    spent: dict[str, float] = {}
    opened: set[str] = set()
    for part in parts:
        facts = part.facts
        if facts is None or facts.dataset != dataset or not viewer.sees(part.site):
            continue
        held = newest.get(part.site)
        if held is None or held.facts is None or facts.ledger_seq >= held.facts.ledger_seq:
            newest[part.site] = part
        if part.active:
            opened.add(part.site)
        own = max(facts.epsilon_spent, facts.epsilon_planned) if part.active else facts.epsilon_spent
        spent[part.site] = max(spent.get(part.site, 0.0), own)
    found = [
        Told(
            site=site,
            run_id=part.run_id,
            open_run=site in opened,
            spent=spent[site],
            limit=part.facts.epsilon_limit,
            delta=part.facts.delta,
            held_out=part.epsilon_held_out or 0.0,
        )
        for site, part in newest.items()
        if part.facts is not None and _usable(spent[site], part.facts.epsilon_limit, part.facts.delta)
    ]
    return sorted(found, key=lambda told: (told.spent - told.limit, told.site), reverse=True)


def _usable(spent: float, limit: float, delta: float) -> bool:
    """Whether the planner can count with what was told; a bucket holds whatever a site said."""
    return math.isfinite(spent) and 0 <= spent <= 1000 and 0 < limit <= 1000 and 0 < delta < 1


def inquire(query: PlanQuery, declared: DataContract, told: Sequence[Told]) -> Inquiry:
    """The question of a query. Raises QuestionError, or UnknownSiteError for a site that is not in `told`."""
    if query.site is not None and query.spent is not None:
        raise QuestionError([("spent", "a site was named, which has told what it spent; leave one of the two out")])
    own = next((entry for entry in told if entry.site == query.site), None)
    if query.site is not None and own is None:
        raise UnknownSiteError
    contract = _contract(declared, query.records)
    settings = _settings(query)
    try:
        question = PlanQuestion(
            settings=settings,
            contract=contract,
            held_out_epsilon=own.held_out if own else 0.0,
            limit=query.limit or (own.limit if own else _DEFAULT_LIMIT),
            lifetime_delta=query.lifetime_delta or (own.delta if own else None),
            held_out_share=query.held_out_share,
            acceptable_loss=query.acceptable_loss,
            ceiling=query.ceiling,
        )
    except ValidationError as error:
        raise QuestionError(_faults(error)) from None
    epsilons = _epsilons(query.epsilons)
    for epsilon in epsilons:
        try:
            question.at(epsilon)
        except ValidationError as error:
            raise QuestionError([("epsilons", fault) for _, fault in _faults(error)]) from None
    spent = own.spent if own else query.spent or 0.0
    # What a site told is of its own δ; a lifetime δ that was typed is another account of the same release.
    at_delta = own.delta if own else question.delta
    before = Budget(spent=spent, limit=question.limit, delta=at_delta) if spent > 0 else None
    most = MOST_SITES if settings.recipe is Recipe.FEDSGD_LOGREG else MOST_SITES_SAMPLED
    sites = tuple(told[:most])
    asked = Asked(question=question, epsilons=epsilons, before=before, budgets=tuple(entry.budget for entry in sites))
    return Inquiry(query, declared, asked, own, sites, len(told) - len(sites))


def _contract(declared: DataContract, records: int | None) -> DataContract:
    if records is None:
        return declared
    changed: dict[str, Any] = dict(declared) | {"nominal_size": records}
    try:
        return DataContract(**changed)
    except ValidationError as error:
        raise QuestionError([("records", message) for _, message in _faults(error)]) from None


def _settings(query: PlanQuery) -> RunSettings:
    try:
        options = strategy_options("fedpriv plan", query.strategy_option)
    except FedprivError as error:
        raise QuestionError([("strategy_option", error.message)]) from None
    given: dict[str, Any] = {
        "recipe": query.recipe,
        "epsilon": query.epsilon,
        "delta": query.delta,
        "unit": query.unit,
        "sites": query.sites,
        "quorum": query.quorum,
        "rounds": query.rounds,
        "strategy": query.strategy,
        "strategy_options": options,
        "local_steps": query.local_steps,
        "local_learning_rate": query.local_learning_rate,
        "batch_size": query.batch_size,
        "evaluations": query.evaluations,
        "evaluation_epsilon": query.evaluation_epsilon,
    }
    try:
        return RunSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise QuestionError(_faults(error)) from None


def _epsilons(text: str) -> tuple[float, ...]:
    try:
        epsilons = sorted({float(part) for part in text.split(",") if part})
    except ValueError:
        raise QuestionError([("epsilons", f"{text!r} is not a list of numbers")]) from None
    if len(epsilons) > MOST_EPSILONS or any(not 0.001 <= epsilon <= 50 for epsilon in epsilons):
        raise QuestionError([("epsilons", f"at most {MOST_EPSILONS}, each from 0.001 to 50")])
    return tuple(epsilons)


def _faults(error: ValidationError) -> list[tuple[str, str]]:
    """Where and why, by the names of the query."""
    names = {"strategy_options": "strategy_option", "nominal_size": "records", "settings": "epsilon"}
    found = []
    for fault in error.errors(include_url=False):
        where = str(fault["loc"][0]) if fault["loc"] else "epsilon"
        found.append((names.get(where, where), str(fault["msg"]).removeprefix("Value error, ")))
    return found


def plan_answer(inquiry: Inquiry, answered: Answered, foretold: Forecast, contracts: Contracts) -> PlanAnswer:
    """What the API says of an answer that foretells."""
    sites = [
        PlannedSite(
            site=told.site,
            epsilon_spent=told.spent,
            epsilon_limit=told.limit,
            delta=told.delta,
            after=budget.after,
            fits=budget.fits,
            runs_that_fit=budget.runs_that_fit,
        )
        for told, budget in zip(inquiry.sites, answered.budgets, strict=True)
        if budget is not None
    ]
    return PlanAnswer(
        contract=_described(inquiry.contract),
        contracts=[_described(contract) for contract in contracts.values()],
        fits=foretold.cost.fits and all(site.fits for site in sites),
        refusal=_refusal(foretold),
        forecast=foretold,
        history=_history(inquiry),
        sites=sites,
        sites_left_out=inquiry.sites_left_out + answered.budgets.count(None),
        command=command(inquiry.query),
        command_note=_command_note(inquiry),
    )


def _described(contract: DataContract) -> PlanContract:
    return PlanContract(
        name=contract.name,
        dataset=contract.dataset,
        records=contract.nominal_size,
        patients=contract.nominal_patients,
        features=contract.n_features,
        classes=len(contract.label.classes),
    )


def _refusal(foretold: Forecast) -> PlanRefusal | None:
    try:
        require_affordable(foretold)
    except FedprivError as error:
        return PlanRefusal(code=error.code, message=error.message, remedy=error.remedy)
    return None


def _history(inquiry: Inquiry) -> PlanHistory:
    told, before = inquiry.told, inquiry.asked.before
    return PlanHistory(
        site=told.site if told else None,
        epsilon_spent=before.spent if before else 0.0,
        run_id=told.run_id if told else None,
        open_run=told.open_run if told else False,
        assumption=_ASSUMED if before else _NOTHING,
    )


def command(query: PlanQuery) -> str:
    """`fedpriv run …` with every option that was chosen; what is left to its default is left out."""
    defaults = PlanQuery()
    words = ["fedpriv", "run", "--epsilon", f"{query.epsilon!r}".removesuffix(".0")]
    for name in (
        *("recipe", "delta", "unit", "sites", "quorum", "rounds", "strategy", "strategy_option", "local_steps"),
        *("local_learning_rate", "batch_size", "evaluations", "evaluation_epsilon"),
    ):
        value = getattr(query, name)
        if value == getattr(defaults, name):
            continue
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}", str(each).removesuffix(".0")]
    return shlex.join(words)


def _command_note(inquiry: Inquiry) -> str | None:
    """The server knows one contract; a run has that one's records, whatever was planned with."""
    contract, records = inquiry.contract, inquiry.query.records
    if records is not None and records != contract.nominal_size:
        return (
            f"The contract of {contract.dataset} declares {contract.nominal_size} records, and a run is planned for "
            f"those. To run this plan, let it declare {records}, in a new version, at the server and at every site."
        )
    return None
