"""What an operator asks of a run, and the plan of public constants that follows from it.

Nothing here depends on records: a plan is a function of (ε, δ, N, d, K, recipe), computed before anything is spent.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedpriv_common.accounting import GaussianEvent, calibrate_noise, gaussian_mu
from fedpriv_common.canonical import canonical_json, digest
from fedpriv_common.contract import DataContract, Unit
from fedpriv_common.model import ModelSpec
from fedpriv_common.recipes import Recipe, require_replies, resolve_strategy

#: The application a site must hold in its own image to take part; server and site compare it for equality.
APP: Final = "fedpriv/1"

#: Share of μ² that the centring round takes from the run's budget.
CENTRE_SHARE = 0.1


# What a site's policy allows where its file does not say.
DEFAULT_MAX_RUN_EPSILON = 3.0
DEFAULT_MIN_NOISE_MULTIPLIER = 1.0
DEFAULT_MIN_NOMINAL_SIZE = 100

# What a run may ask of a site, whoever asks: a site reads plans with the same bounds as a server reads settings.
Rounds = Annotated[int, Field(ge=1, le=1000)]
Steps = Annotated[int, Field(ge=1, le=10_000)]
LocalLearningRate = Annotated[float, Field(gt=0, le=100)]
StrategyName = Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
#: By name; which there are depends on the strategy (`recipes.py`). Left out of a plan that has none, so that plans of
#: strategies without options have the digest that they always had.
StrategyOptions = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")], float],
    Field(max_length=8, exclude_if=lambda options: not options),
]
MinReplyMs = Annotated[int, Field(ge=0, le=600_000)]

#: Most checkpoints that are evaluated on held-out records: each one costs, and a curve of them would be noise.
MAX_EVALUATIONS = 3
PureEpsilon = Annotated[float, Field(ge=1e-3, le=50)]


class Phase(StrEnum):
    """The step of a round that a release belongs to."""

    CENTRE = "centre"
    TRAIN = "train"
    EVALUATE = "evaluate"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __hash__(self) -> int:
        """Equal models have equal canonical JSON; a field by itself may be a dict, which has no hash."""
        return hash(canonical_json(self.model_dump(mode="json")))


class RunSettings(_Frozen):
    """What an operator may choose. Everything else follows, so that settings cannot contradict each other."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "breast-cancer"
    recipe: Recipe = Recipe.FEDSGD_LOGREG
    epsilon: Annotated[float, Field(gt=0, le=50)] = 1.0
    delta: Annotated[float, Field(gt=0, le=1e-3)] = 1e-5
    unit: Annotated[Unit, Field(description="patient: all records of one together, where the contract has them")] = (
        "record"
    )
    sites: Annotated[int, Field(ge=1, le=1000)] = 3
    quorum: Annotated[int | None, Field(ge=1, description="replies a round needs; none: every site")] = None
    rounds: Annotated[Rounds | None, Field(description="none: as the recipe's formula says")] = None
    local_steps: Annotated[Steps | None, Field(description="MLP: steps per round")] = None
    local_learning_rate: Annotated[LocalLearningRate, Field(description="MLP")] = 0.5
    batch_size: Annotated[int, Field(ge=1, description="MLP: expected batch of units, the public divisor")] = 32
    strategy: Annotated[StrategyName | None, Field(description="none: the recipe's own")] = None
    strategy_options: StrategyOptions = {}
    evaluations: Annotated[
        int, Field(ge=0, le=MAX_EVALUATIONS, description="times that held-out records evaluate the model")
    ] = 1
    evaluation_epsilon: Annotated[
        PureEpsilon | None, Field(description="of each evaluation; none: they share the run's epsilon")
    ] = None
    admission_deadline_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    # A run outlives a network that is away for ten minutes: what sites released before would be spent for nothing.
    round_deadline_s: Annotated[float, Field(gt=0, le=86_400)] = 900.0
    min_reply_ms: MinReplyMs = 20

    @model_validator(mode="after")
    def _quorum(self) -> Self:
        if self.quorum is not None and self.quorum > self.sites:
            raise ValueError(f"quorum {self.quorum} is more than the run's {self.sites} sites")
        return self

    @model_validator(mode="after")
    def _evaluations_within_epsilon(self) -> Self:
        if self.evaluation_epsilon is not None and self.evaluations * self.evaluation_epsilon > self.epsilon:
            raise ValueError(
                f"{self.evaluations} evaluations of epsilon {self.evaluation_epsilon} are more than the run's "
                f"{self.epsilon}: a held-out record would lose more than a training record"
            )
        return self


class Release(_Frozen):
    """One kind of mechanism call: a clipped sum with Gaussian noise σ·C, `steps` times in each of `rounds` rounds."""

    phase: Phase
    mechanism: Literal["gaussian"] = "gaussian"
    noise_multiplier: Annotated[float, Field(gt=0, le=1e9)]
    # Far from where float64 ends: among subnormal numbers, rounding lets a clipped vector pass its bound.
    max_grad_norm: Annotated[float, Field(ge=1e-6, le=1e6)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Steps
    rounds: Rounds

    def event(self) -> GaussianEvent:
        """What one round of this release costs."""
        return GaussianEvent(self.noise_multiplier, self.sample_rate, self.steps)


class Evaluation(_Frozen):
    """Confusion matrices of held-out records after each of `at` rounds, one geometric mechanism each.

    A record is one cell of the matrix, so a whole matrix costs `epsilon` (pure, add/remove). Held-out records are in
    no training release: the two compose in parallel, and a record's epsilon is the larger of the two.
    """

    mechanism: Literal["geometric"] = "geometric"
    epsilon: PureEpsilon
    at: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=MAX_EVALUATIONS)]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if sorted(set(self.at)) != list(self.at):
            raise ValueError("the rounds of an evaluation must ascend")
        return self

    @property
    def total(self) -> float:
        """Epsilon of all evaluations together: pure epsilons add."""
        return self.epsilon * len(self.at)


class Plan(_Frozen):
    """The public constants of a run. A site is shown it once, at admission, and charges exactly what it says."""

    app: Literal["fedpriv/1"] = APP
    recipe: Recipe
    strategy: StrategyName
    strategy_options: StrategyOptions = {}
    contract_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    dataset: str
    model: ModelSpec
    nominal_size: Annotated[int, Field(gt=0, description="N: declared units over all sites")]
    sites: Annotated[int, Field(ge=1)]
    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    adjacency: Literal["add-remove"] = "add-remove"
    unit: Unit = "record"
    centre: Release | None
    train: Release
    learning_rate: Annotated[float, Field(gt=0, description="η at the server")]
    local_learning_rate: LocalLearningRate | None = None
    batch_size: Annotated[int | None, Field(ge=1)] = None
    average_from: Annotated[int, Field(ge=1, description="the published model averages iterates from here on")]
    min_reply_ms: MinReplyMs = 0
    evaluate: Evaluation | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """A plan charges what its recipe does: a rate below 1 for a full-batch recipe would charge too little."""
        if self.train.phase is not Phase.TRAIN or (self.centre is not None and self.centre.phase is not Phase.CENTRE):
            raise ValueError("the releases of a plan are named for another phase")
        match self.recipe:
            case Recipe.FEDSGD_LOGREG:
                centre, train = self.centre, self.train
                if self.model.kind is not self.recipe.model or centre is None or centre.rounds != 1:
                    raise ValueError(f"{self.recipe} is logistic regression with one centring round")
                if any(release.sample_rate != 1.0 or release.steps != 1 for release in (centre, train)):
                    raise ValueError(f"{self.recipe} takes one full-batch step per round")
            case Recipe.FEDAVG_MLP:
                if self.model.kind is not self.recipe.model or self.centre is not None:
                    raise ValueError(f"{self.recipe} is an MLP without a centring round")
                if self.local_learning_rate is None or self.batch_size is None:
                    raise ValueError(f"{self.recipe} needs local_learning_rate and batch_size")
        if resolve_strategy(self.recipe, self.strategy, self.strategy_options)[1] != self.strategy_options:
            raise ValueError(f"a plan names every option of its strategy {self.strategy}")
        if (self.local_learning_rate or 0.0) * self.proximal_mu > 1.0:
            raise ValueError("local_learning_rate times proximal_mu is over 1: local steps would overshoot the model")
        if self.average_from > self.rounds:
            raise ValueError("average_from is after the last round")
        if self.evaluate is not None and (self.evaluate.at[-1] > self.rounds or self.evaluate.total > self.epsilon):
            raise ValueError("the evaluation goes past the last round or past the run's epsilon")
        return self

    @property
    def rounds(self) -> int:
        """T, the number of training rounds; the centring round is round 0."""
        return self.train.rounds

    @property
    def proximal_mu(self) -> float:
        """μ of the proximal term (μ/2)·‖w − w_global‖² in every site's local objective; 0 but for fedprox."""
        return self.strategy_options.get("proximal_mu", 0.0)

    def release(self, phase: Phase) -> Release | None:
        """The release that this plan foresees in `phase`, if any."""
        return {Phase.CENTRE: self.centre, Phase.TRAIN: self.train}.get(phase)

    def events(self) -> tuple[GaussianEvent, ...]:
        """Everything the run will charge to a site's training records."""
        releases = [release for release in (self.centre, self.train) if release is not None]
        return tuple(
            GaussianEvent(release.noise_multiplier, release.sample_rate, release.steps * release.rounds)
            for release in releases
        )

    def digest(self) -> str:
        """SHA-256 of the plan's canonical form."""
        return digest(self.model_dump(mode="json"))


def default_delta(nominal_size: int) -> float:
    """min(1e-5, 1/(10·N)): a δ of 1/N would still allow giving away one whole record."""
    return min(1e-5, 1.0 / (10 * nominal_size))


def model_of(recipe: Recipe, contract: DataContract) -> ModelSpec:
    """The one model that a recipe trains on a contract's table."""
    return ModelSpec(kind=recipe.model, n_features=contract.n_features, n_classes=len(contract.label.classes))


def centre_bound(n_features: int) -> float:
    """R = 0.4·√d, the norm to which a record's features are clipped in the centring round."""
    return 0.4 * math.sqrt(n_features)


def _evaluation(settings: RunSettings, rounds: int) -> Evaluation | None:
    """The end, and before it checkpoints at equal distances."""
    count = min(settings.evaluations, rounds)
    epsilon = settings.epsilon / max(1, count) if settings.evaluation_epsilon is None else settings.evaluation_epsilon
    if count == 0 or epsilon < 1e-3:
        return None
    # The sum of equal parts may pass the whole in the last digit.
    while epsilon * count > settings.epsilon:
        epsilon = math.nextafter(epsilon, 0.0)
    return Evaluation(epsilon=epsilon, at=tuple(rounds * number // count for number in range(1, count + 1)))


def make_plan(settings: RunSettings, contract: DataContract) -> Plan:
    """The plan of a run. Raises ValueError when no noise keeps the settings' epsilon, the unit is not declared, or the
    strategy does not fit recipe, options and the number of replies that a round may have."""
    strategy, options = resolve_strategy(settings.recipe, settings.strategy, settings.strategy_options)
    require_replies(strategy, options, settings.quorum or settings.sites)
    match settings.recipe:
        case Recipe.FEDSGD_LOGREG:
            return _plan_fedsgd(settings, contract, strategy, options)
        case Recipe.FEDAVG_MLP:
            return _plan_mlp(settings, contract, strategy, options)


def _plan_fedsgd(settings: RunSettings, contract: DataContract, strategy: str, options: dict[str, float]) -> Plan:
    """DP-FedSGD logistic regression: one full-batch step per round, after a DP centring round.

    With μ the Gaussian parameter of (ε, δ), ν = √(K(d+1))/(μN) is the noise of one full step at unit length:
    the total step length is L = min(10/ν, 1000), spread over T = clip(round(L/10), 10, 50) rounds of η = L/T.
    Centring takes 10 % of μ², training the rest: σ₀ = 1/(μ√0.1), σ = √T/(μ√0.9).
    """
    features = contract.n_features
    mu = gaussian_mu(settings.epsilon, settings.delta)
    size = contract.nominal(settings.unit)
    nu = math.sqrt(settings.sites * (features + 1)) / (mu * size)
    length = min(10.0 / nu, 1000.0)
    rounds = settings.rounds or min(max(round(length / 10.0), 10), 50)

    def releases(scale: float) -> tuple[Release, Release]:
        centre = Release(
            phase=Phase.CENTRE,
            noise_multiplier=scale / math.sqrt(CENTRE_SHARE),
            max_grad_norm=centre_bound(features),
            sample_rate=1.0,
            steps=1,
            rounds=1,
        )
        train = Release(
            phase=Phase.TRAIN,
            noise_multiplier=scale * math.sqrt(rounds / (1.0 - CENTRE_SHARE)),
            max_grad_norm=0.1,
            sample_rate=1.0,
            steps=1,
            rounds=rounds,
        )
        return centre, train

    def charges(scale: float) -> list[GaussianEvent]:
        centre, train = releases(scale)
        return [centre.event()] + [train.event()] * rounds

    centre, train = releases(calibrate_noise(charges, settings.epsilon, settings.delta))
    return Plan(
        recipe=settings.recipe,
        strategy=strategy,
        strategy_options=options,
        contract_digest=contract.digest(),
        dataset=contract.dataset,
        model=model_of(settings.recipe, contract),
        nominal_size=size,
        unit=settings.unit,
        sites=settings.sites,
        epsilon=settings.epsilon,
        delta=settings.delta,
        centre=centre,
        train=train,
        learning_rate=length / rounds,
        average_from=rounds // 2 + 1,
        min_reply_ms=settings.min_reply_ms,
        evaluate=_evaluation(settings, rounds),
    )


def _plan_mlp(settings: RunSettings, contract: DataContract, strategy: str, options: dict[str, float]) -> Plan:
    """DP-FedAvg of an MLP: Poisson mini-batches with public rate q = L/(N/K), `steps` per round, divisor L."""
    size = contract.nominal(settings.unit)
    site_size = size / settings.sites
    sample_rate = min(1.0, settings.batch_size / site_size)
    steps = settings.local_steps or max(1, round(1.0 / sample_rate))
    rounds = settings.rounds or 10

    def events(scale: float) -> list[GaussianEvent]:
        return [GaussianEvent(scale, sample_rate, steps * rounds)]

    train = Release(
        phase=Phase.TRAIN,
        noise_multiplier=calibrate_noise(events, settings.epsilon, settings.delta),
        max_grad_norm=1.0,
        sample_rate=sample_rate,
        steps=steps,
        rounds=rounds,
    )
    return Plan(
        recipe=settings.recipe,
        strategy=strategy,
        strategy_options=options,
        contract_digest=contract.digest(),
        dataset=contract.dataset,
        model=model_of(settings.recipe, contract),
        nominal_size=size,
        unit=settings.unit,
        sites=settings.sites,
        epsilon=settings.epsilon,
        delta=settings.delta,
        centre=None,
        train=train,
        learning_rate=1.0,
        local_learning_rate=settings.local_learning_rate,
        batch_size=settings.batch_size,
        average_from=rounds,
        min_reply_ms=settings.min_reply_ms,
        evaluate=_evaluation(settings, rounds),
    )
