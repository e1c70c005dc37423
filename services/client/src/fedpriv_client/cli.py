"""Commands for the people at a site: make and inspect the ledger, write the demo's tables."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedpriv_client.data.partition import CANONICAL_FORM, SiteKey
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.policy import load_policy
from fedpriv_common.accounting import epsilon
from fedpriv_common.contract import load_contract
from fedpriv_common.rounding import round_down, round_up

app = typer.Typer()
data_app = typer.Typer(help="Tables.", no_args_is_help=True)
ledger_app = typer.Typer(help="The site's privacy ledger.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")

LedgerPath = Annotated[Path, typer.Option("--ledger", envvar="FEDPRIV_LEDGER", help="SQLite file of the ledger.")]
MarkerPath = Annotated[
    Path, typer.Option("--marker", envvar="FEDPRIV_LEDGER_MARKER", help="Genesis marker, on another volume.")
]
ContractName = Annotated[
    str, typer.Option("--contract", envvar="FEDPRIV_CONTRACT", help="Built-in data contract or a YAML file.")
]
PolicyPath = Annotated[Path | None, typer.Option("--policy", envvar="FEDPRIV_POLICY", help="The site's policy file.")]


@data_app.command("demo")
def write_demo_data(out: Annotated[Path, typer.Option(help="Folder for the two files.")]) -> None:
    """Write the Wisconsin breast-cancer table: records.csv for the sites, public-validation.csv for the server."""
    from fedpriv_client.data.breast_cancer import write_files  # scikit-learn takes a second to import

    for path in write_files(out):
        typer.echo(path)


@ledger_app.command("init")
def init_ledger(
    ledger: LedgerPath,
    marker: MarkerPath,
    contract: ContractName,
    site_key: Annotated[Path, typer.Option(envvar="FEDPRIV_SITE_KEY", help="Made when it is not there.")],
    partition: Annotated[int, typer.Option(envvar="FEDPRIV_PARTITION", min=0)] = 0,
    partitions: Annotated[int, typer.Option(envvar="FEDPRIV_PARTITIONS", min=1)] = 1,
    policy: PolicyPath = None,
) -> None:
    """Begin the ledger of a data set that has never been used. Done twice, it changes nothing."""
    if partition >= partitions:
        raise typer.BadParameter(f"partition {partition} is not one of 0…{partitions - 1}")
    declared, rules = load_contract(contract), load_policy(policy)
    _make_site_key(site_key)
    identity = LedgerIdentity(
        dataset=declared.dataset,
        partition=partition,
        partitions=partitions,
        held_out_share=rules.held_out_share,
        site_key_commitment=SiteKey.read(site_key).commitment(),
        canonical_form=CANONICAL_FORM,
    )
    # A marker without its ledger is a loss, not a beginning.
    store = SqliteStore.open(ledger) if marker.exists() else SqliteStore.create(ledger)
    Ledger.begin(store, marker, identity)
    typer.echo(f"{ledger} is the ledger of {declared.dataset}, partition {partition} of {partitions}.")


@ledger_app.command("show")
def show_ledger(ledger: LedgerPath, marker: MarkerPath, contract: ContractName, policy: PolicyPath = None) -> None:
    """Show what was spent, what is held for open runs and what remains."""
    rules = load_policy(policy)
    delta = rules.delta_for(load_contract(contract))
    with Ledger.open(SqliteStore.open(ledger), marker).reading() as history:
        table = Table(
            "run",
            "releases",
            "committed",
            "state",
            "ε",
            title=f"{history.genesis.dataset}" if history.genesis else None,
        )
        for run_id, run in history.runs.items():
            committed = sum(release.state == "committed" for release in run.releases.values())
            table.add_row(
                run_id,
                str(len(run.releases)),
                str(committed),
                "closed" if run.closed else "open",
                f"{round_up(epsilon(run.charged(), delta)):.2f}",
            )
        spent = epsilon(history.charged(), delta)
        held = epsilon([*history.charged(), *history.held()], delta)
    console = Console()
    console.print(table)
    console.print(
        f"Spent ε {round_up(spent):.2f}, with what open runs hold {round_up(held):.2f}, of {rules.epsilon:.2f}; "
        f"remaining {round_down(max(0.0, rules.epsilon - held)):.2f} (δ {delta:g}, add/remove one record)"
    )


@ledger_app.command("verify")
def verify_ledger(ledger: LedgerPath, marker: MarkerPath) -> None:
    """Check the whole chain against its marker; exits non-zero at the first entry that does not fit."""
    with Ledger.open(SqliteStore.open(ledger), marker).reading() as history:
        typer.echo(f"{history.seq + 1} entries, head {history.head}")


@ledger_app.command("export")
def export_ledger(ledger: LedgerPath, marker: MarkerPath) -> None:
    """Write one JSON line per reservation, in its latest state, to standard output."""
    for line in Ledger.open(SqliteStore.open(ledger), marker).export():
        typer.echo(json.dumps(line, sort_keys=True))


def _make_site_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return
    path.write_text(secrets.token_hex(32) + "\n")
