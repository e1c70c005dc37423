"""`fedpriv plan`: what a run would be, cost and reach, before anything is spent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpriv_common.errors import ErrorCode, FedprivError

if TYPE_CHECKING:
    from fedpriv_common.contract import DataContract
    from fedpriv_common.lifetime import History

app = typer.Typer()

#: For every command that takes them. Spelled out here, because the table of strategies is slow to load.
STRATEGY_HELP = "fedsgd, fedavg, fedprox, fedadam, fedtrimmedavg or krum; by default the recipe's."
STRATEGY_OPTION_HELP = "Of the strategy, as in beta_1=0.9; once for each. docs/reference/strategies.md lists them."

_EPSILONS = "0.5,1,2,3,8"


@app.command("plan")
def plan(
    contract: Annotated[
        str, typer.Option(envvar="FEDPRIV_CONTRACT", help="Built-in data contract or a YAML file.")
    ] = "breast-cancer-wisconsin",
    recipe: Annotated[str | None, typer.Option(help="fedsgd-logreg (default) or fedavg-mlp.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Target of the run; 1 by default.")] = None,
    delta: Annotated[float | None, typer.Option(help="1e-5 by default.")] = None,
    unit: Annotated[str | None, typer.Option(help="record (default) or patient: whom epsilon is for.")] = None,
    sites: Annotated[int | None, typer.Option(help="Sites that take part; 3 by default.")] = None,
    quorum: Annotated[int | None, typer.Option(help="Answers a round needs; every site by default.")] = None,
    records: Annotated[int | None, typer.Option(help="Records over all sites, instead of the contract's.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Training rounds; by default as the recipe says.")] = None,
    strategy: Annotated[str | None, typer.Option(help=STRATEGY_HELP)] = None,
    strategy_option: Annotated[list[str] | None, typer.Option(help=STRATEGY_OPTION_HELP)] = None,
    local_steps: Annotated[int | None, typer.Option(help="MLP: local steps per round.")] = None,
    local_learning_rate: Annotated[float | None, typer.Option(help="MLP.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="MLP: expected batch.")] = None,
    evaluations: Annotated[int | None, typer.Option(help="On held-out records; 1 by default.")] = None,
    evaluation_epsilon: Annotated[
        float | None, typer.Option(help="Of each evaluation; by default they share the run's.")
    ] = None,
    history: Annotated[
        str | None, typer.Option(help="What `fedpriv ledger export` wrote; - reads standard input.")
    ] = None,
    limit: Annotated[float, typer.Option(help="Lifetime epsilon of the data set.")] = 8.0,
    lifetime_delta: Annotated[
        float | None, typer.Option(help="Of the lifetime; by default min(1e-5, 1/(10·records)), as sites have it.")
    ] = None,
    held_out_share: Annotated[
        float, typer.Option(help="Share of records that sites keep from training, as their policies say.")
    ] = 0.1,
    ceiling: Annotated[
        float | None, typer.Option(help="Accuracy without privacy, if known: the loss is then taken from it.")
    ] = None,
    acceptable_loss: Annotated[
        float, typer.Option(help="Points of accuracy: how many records keep the expected loss below them.")
    ] = 1.0,
    epsilons: Annotated[str, typer.Option(help="Rows of the table, with commas between.")] = _EPSILONS,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False,
) -> None:
    """Foretell a run: noise, rounds, accuracy, cost in budget. Nothing is spent, no record is read."""
    from rich.console import Console

    from fedpriv_common.plan_view import show
    from fedpriv_common.planner import PlanQuestion, forecast, require_affordable
    from fedpriv_common.run_options import refusing_options, run_settings, strategy_options

    settings = run_settings(
        "fedpriv plan",
        recipe=recipe,
        epsilon=epsilon,
        delta=delta,
        unit=unit,
        sites=sites,
        quorum=quorum,
        rounds=rounds,
        strategy=strategy,
        strategy_options=strategy_options("fedpriv plan", strategy_option),
        local_steps=local_steps,
        local_learning_rate=local_learning_rate,
        batch_size=batch_size,
        evaluations=evaluations,
        evaluation_epsilon=evaluation_epsilon,
    )
    earlier = _history(history)
    with refusing_options("fedpriv plan", {"settings": "records", "nominal_size": "records"}):
        question = PlanQuestion(
            settings=settings,
            contract=_contract(contract, records),
            history=earlier.training,
            held_out_epsilon=earlier.held_out_epsilon,
            limit=limit,
            lifetime_delta=lifetime_delta,
            held_out_share=held_out_share,
            ceiling=ceiling,
            acceptable_loss=acceptable_loss / 100,
        )
    with refusing_options("fedpriv plan", {"epsilon": "epsilons"}):
        answer = forecast(question, _epsilons(epsilons))
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        console = Console(highlight=False)
        show(console if console.is_terminal else Console(highlight=False, width=200), answer)
    require_affordable(answer)


def _contract(source: str, records: int | None) -> DataContract:
    from fedpriv_common.contract import DataContract, load_contract

    declared = load_contract(source)
    return declared if records is None else DataContract(**dict(declared) | {"nominal_size": records})


def _history(source: str | None) -> History:
    from fedpriv_common.lifetime import History, read_history

    if source is None:
        return History()
    if source == "-":
        return read_history(sys.stdin, "standard input")
    try:
        with Path(source).open(encoding="utf-8") as file:
            return read_history(file, source)
    except (OSError, UnicodeDecodeError) as error:
        fault = getattr(error, "strerror", None) or "not a text in UTF-8"
        raise FedprivError(
            ErrorCode.BAD_HISTORY, f"{source}: {fault}.", "Give a file that `fedpriv ledger export` wrote."
        ) from None


def _epsilons(text: str) -> list[float]:
    try:
        return sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise FedprivError(
            ErrorCode.RUN_REFUSED, f"--epsilons: {text!r} is not a list of numbers.", f"As in --epsilons {_EPSILONS}."
        ) from None
