"""`fedpriv run`, `runs` and `cancel`: what an operator does. Nothing heavy is loaded before a command needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpriv_common.plan_cli import STRATEGY_HELP, STRATEGY_OPTION_HELP

if TYPE_CHECKING:
    from fedpriv_server.operator_client import OperatorClient

app = typer.Typer()

Server = Annotated[str, typer.Option(help="Address of the server.", envvar="FEDPRIV_SERVER")]
Authority = Annotated[
    Path | None, typer.Option("--ca", help="Certificate that signed the server's.", envvar="FEDPRIV_CA")
]
KeyFile = Annotated[Path, typer.Option("--operator-key-file", help="File of the key.", envvar="FEDPRIV_OPERATOR_KEY")]

_SERVER = "https://localhost:8080"
#: Exit status of a command that Ctrl-C ended, as shells have it.
_INTERRUPTED = 130


@app.command("run")
def run(
    key_file: KeyFile,
    server: Server = _SERVER,
    ca: Authority = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    recipe: Annotated[str | None, typer.Option(help="fedsgd-logreg (default) or fedavg-mlp.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Target of the run; 1 by default.")] = None,
    delta: Annotated[float | None, typer.Option(help="1e-5 by default.")] = None,
    unit: Annotated[str | None, typer.Option(help="record (default) or patient: whom epsilon is for.")] = None,
    sites: Annotated[int | None, typer.Option(help="Sites that take part; 3 by default.")] = None,
    quorum: Annotated[int | None, typer.Option(help="Answers a round needs; every site by default.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Training rounds; by default as the recipe says.")] = None,
    strategy: Annotated[str | None, typer.Option(help=STRATEGY_HELP)] = None,
    strategy_option: Annotated[list[str] | None, typer.Option(help=STRATEGY_OPTION_HELP)] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Times, up to 3, that held-out records evaluate the model; 1 by default.")
    ] = None,
    evaluation_epsilon: Annotated[
        float | None, typer.Option(help="Of each evaluation; by default they share the run's epsilon.")
    ] = None,
    local_steps: Annotated[int | None, typer.Option(help="MLP: local steps per round.")] = None,
    local_learning_rate: Annotated[float | None, typer.Option(help="MLP.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="MLP: expected batch.")] = None,
    min_reply_ms: Annotated[
        int | None, typer.Option(help="Answers come at whole multiples of it; 20 by default.")
    ] = None,
    admission_deadline: Annotated[
        float | None, typer.Option(help="Seconds to answer the plan in; 60 by default.")
    ] = None,
    round_deadline: Annotated[float | None, typer.Option(help="Seconds to answer a round in; 900 by default.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it; exit 0 only when it finishes.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="If there is a run of this name already: do not start another.")
    ] = False,
) -> None:
    """Start a run."""
    # All before the run begins: the handler of an interruption is below, and imports take longer than first rounds.
    from rich.console import Console

    from fedpriv_common.run_options import run_settings, strategy_options
    from fedpriv_server.operator_client import require_finished
    from fedpriv_server.progress import show_progress

    settings = run_settings(
        "fedpriv run",
        name=name,
        recipe=recipe,
        epsilon=epsilon,
        delta=delta,
        unit=unit,
        sites=sites,
        quorum=quorum,
        rounds=rounds,
        strategy=strategy,
        strategy_options=strategy_options("fedpriv run", strategy_option),
        evaluations=evaluations,
        evaluation_epsilon=evaluation_epsilon,
        min_reply_ms=min_reply_ms,
        local_steps=local_steps,
        local_learning_rate=local_learning_rate,
        batch_size=batch_size,
        admission_deadline_s=admission_deadline,
        round_deadline_s=round_deadline,
    )
    client = _client(server, ca, key_file)
    earlier = client.last_named(settings.name) if once else None
    run_id = earlier.run_id if earlier else client.start(settings)
    typer.echo(run_id)
    if earlier is not None and earlier.cause is not None:
        typer.echo(
            f"{settings.name} has ended: {earlier.state.value}. For another run, choose another --name.", err=True
        )
        require_finished(earlier)
    elif follow:
        try:
            last = show_progress(client.follow(run_id), Console(stderr=True, highlight=False))
        except KeyboardInterrupt:
            typer.echo(f"\nRun {run_id} goes on. `fedpriv runs` shows it, `fedpriv cancel {run_id}` ends it.", err=True)
            raise typer.Exit(_INTERRUPTED) from None
        require_finished(last)


@app.command("runs")
def runs(
    key_file: KeyFile,
    server: Server = _SERVER,
    ca: Authority = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Only runs in this state; may be given several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object per line and run.")] = False,
) -> None:
    """List runs, newest first."""
    from rich.console import Console
    from rich.table import Table

    from fedpriv_common.records import RunState

    if unknown := set(state or ()).difference(RunState):
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: states are {', '.join(RunState)}", param_hint="--state"
        )
    listed = [run for run in _client(server, ca, key_file).runs() if not state or run.state in state]
    if as_json:
        for status in listed:
            typer.echo(status.model_dump_json())
        return
    table = Table("run", "name", "state", "round", "ε", "accuracy", "started", box=None, pad_edge=False)
    for status in listed:
        accuracy = status.metrics.get("accuracy")
        why = ", ".join(word for word in (status.cause, status.code) if word and word != "complete")
        table.add_row(
            status.run_id,
            status.name,
            status.state.value + (f" ({why})" if why else ""),
            f"{status.round}/{status.rounds}",
            f"{status.epsilon:g}",
            "–" if accuracy is None else f"{100 * accuracy:.1f} %",
            f"{status.created_at:%Y-%m-%d %H:%M}",
        )
    Console(highlight=False, width=None if Console().is_terminal else 200).print(table)


@app.command("cancel")
def cancel(
    run_id: Annotated[str, typer.Argument(help="As `fedpriv runs` lists it.")],
    key_file: KeyFile,
    server: Server = _SERVER,
    ca: Authority = None,
) -> None:
    """End a run. What its sites released stays charged, what they did not is free again."""
    from fedpriv_server.progress import spell_cancelled

    typer.echo(spell_cancelled(_client(server, ca, key_file).cancel(run_id)))


def _client(server: str, authority: Path | None, key_file: Path) -> OperatorClient:
    from fedpriv_common.settings import read_secret
    from fedpriv_server.operator_client import OperatorClient

    address = server if "://" in server else f"https://{server}"
    return OperatorClient(address, read_secret(key_file, "operator key"), authority)
