"""A run before it is started: what is asked, and what is foretold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fedpriv_common.contract import Unit
from fedpriv_common.errors import ErrorCode
from fedpriv_common.planner import Forecast
from fedpriv_common.recipes import Recipe
from fedpriv_common.records import SiteName
from fedpriv_metrics.models.answer import Answer

#: Epsilons that one question may name beside its own.
MOST_EPSILONS = 24


class PlanQuery(BaseModel):
    """The query of `/v1/plan`: options of `fedpriv plan`, with the same meaning and the same defaults."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    contract: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9][a-z0-9-]{0,62}(@[a-zA-Z0-9.-]{1,20})?$",
            description="data contract, by name or data set `name@version`; none: the built-in one",
        ),
    ] = None
    recipe: Recipe = Recipe.FEDSGD_LOGREG
    epsilon: Annotated[float, Field(ge=0.001, le=50, description="target of the run")] = 1.0
    delta: Annotated[float, Field(ge=1e-12, le=1e-3)] = 1e-5
    unit: Annotated[Unit, Field(description="whom epsilon is for")] = "record"
    sites: Annotated[int, Field(ge=1, le=1000)] = 3
    quorum: Annotated[int | None, Field(ge=1, le=1000, description="replies a round needs; none: every site")] = None
    records: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000_000,
            description="over all sites, two significant digits, instead of the contract's nominal size",
        ),
    ] = None
    rounds: Annotated[int | None, Field(ge=1, le=1000, description="none: as the recipe says")] = None
    strategy: Annotated[str | None, Field(pattern=r"^[a-z]{1,20}$", description="none: the recipe's own")] = None
    strategy_option: Annotated[list[str], Field(max_length=8, description="`name=number`, once for each")] = []
    local_steps: Annotated[int | None, Field(ge=1, le=10_000, description="MLP: steps per round")] = None
    local_learning_rate: Annotated[float | None, Field(gt=0, le=100, description="MLP")] = None
    batch_size: Annotated[int | None, Field(ge=1, le=1_000_000, description="MLP: expected batch")] = None
    evaluations: Annotated[int, Field(ge=0, le=3, description="on held-out records")] = 1
    evaluation_epsilon: Annotated[
        float | None, Field(ge=1e-3, le=50, description="of each evaluation; none: they share the run's")
    ] = None
    site: Annotated[
        SiteName | None,
        Field(description="plan after what this site has told of the data set's budget: spent, limit and δ are its"),
    ] = None
    spent: Annotated[
        float | None, Field(ge=0, le=1000, description="lifetime epsilon spent before; instead of `site`")
    ] = None
    limit: Annotated[float | None, Field(ge=0.001, le=1000, description="lifetime epsilon; none: the site's, or 8")] = (
        None
    )
    lifetime_delta: Annotated[
        float | None, Field(ge=1e-12, le=1e-3, description="none: the site's, or min(1e-5, 1/(10·records))")
    ] = None
    held_out_share: Annotated[float, Field(ge=0, le=0.5, description="records that sites keep from training")] = 0.1
    acceptable_loss: Annotated[float, Field(ge=0.001, le=0.2, description="of accuracy, as a fraction")] = 0.01
    ceiling: Annotated[float | None, Field(ge=0.01, le=1, description="accuracy without privacy, if known")] = None
    epsilons: Annotated[
        str,
        Field(
            pattern=r"^$|^[0-9.]{1,8}(,[0-9.]{1,8}){0,23}$",
            description="rows of the table, with commas between: at most 24, each from 0.001 to 50",
        ),
    ] = "0.5,1,2,3,8"


class PlanContract(Answer):
    """A data contract that plans can be made of."""

    name: str
    dataset: str
    records: int = Field(description="nominal size, over all sites")
    patients: int | None
    features: int
    classes: int


class PlanHistory(Answer):
    """What the data set had spent before, as far as it is known here."""

    site: str | None = Field(description="whose budget it is; null: none was named")
    epsilon_spent: float
    run_id: str | None = Field(description="the run in which the site told it")
    open_run: bool = Field(description="a run is open there: what it will have spent at its planned end is counted")
    assumption: str = Field(description="what stands for the releases that are not known here")


class PlannedSite(Answer):
    """What the run would do to a site's budget of the data set, by what the site told last."""

    site: str
    epsilon_spent: float
    epsilon_limit: float
    delta: float
    after: float = Field(description="lifetime epsilon when the run has ended as planned")
    fits: bool
    runs_that_fit: int = Field(description="such runs from now on, this one included")


class PlanRefusal(Answer):
    """Why the run cannot be paid, and what could."""

    code: ErrorCode
    message: str
    remedy: str


class PlanAnswer(Answer):
    """A run foretold. Nothing was spent, and no record was read."""

    contract: PlanContract
    contracts: list[PlanContract] = Field(description="every one that plans can be made of here")
    fits: bool = Field(
        description="whether the budget that was asked about, and every site listed here, can pay the run"
    )
    refusal: PlanRefusal | None = Field(description="null where the budget that was asked about can pay the run")
    forecast: Forecast = Field(description="what `fedpriv plan --json` prints; epsilons are exact")
    history: PlanHistory
    sites: list[PlannedSite] = Field(description="sites that have told of this data set, least left first, at most 20")
    sites_left_out: int = Field(description="further ones, with more left or with figures that cannot be counted with")
    command: str = Field(description="starts the run")
    command_note: str | None = Field(description="what has to be done before the command means this plan")
