"""Commands for the people at a site: make and inspect the ledger, write the demo's tables."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedpriv_client.cli_approve import approve_app
from fedpriv_client.cli_options import (
    ContractName,
    KmsKey,
    LedgerPlace,
    MarkerPlace,
    Partition,
    PolicyPath,
    open_own,
    own_place,
)
from fedpriv_client.data.partition import CANONICAL_FORM, SiteKey
from fedpriv_client.privacy.ledger.ledger import Ledger, LedgerIdentity
from fedpriv_client.privacy.ledger.location import S3Url, share_storage
from fedpriv_client.privacy.ledger.opening import create_store, open_marker, open_store
from fedpriv_client.privacy.policy import load_policy
from fedpriv_client.settings import PLACEHOLDER
from fedpriv_common.accounting import epsilon
from fedpriv_common.contract import load_contract
from fedpriv_common.rounding import spell_left, spell_limit, spell_spent

app = typer.Typer()
data_app = typer.Typer(help="Tables.", no_args_is_help=True)
ledger_app = typer.Typer(help="The site's privacy ledger.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")
app.add_typer(approve_app, name="approve")


@app.command("audit")
def audit(
    out: Annotated[Path | None, typer.Option(help="JSON file for the result, which a statement can quote.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer canaries, no seeded defects: a quarter of it.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Each takes 400 MB of memory.")] = 2,
) -> None:
    """Prove by experiment, on generated records, that this site's code keeps its claim; exits non-zero if not."""
    from fedpriv_client.audit.canaries import CANARIES, QUICK_CANARIES
    from fedpriv_client.audit.run import run_audit  # torch takes seconds to import
    from fedpriv_client.audit.show import report

    with Console(stderr=True).status("audit") as status:
        result = run_audit(
            canaries=QUICK_CANARIES if quick else CANARIES,
            defects=not quick,
            processes=processes,
            progress=lambda done, of: status.update(f"audit: {done} of {of} parts done"),
        )
    report(result, out)


@data_app.command("demo")
def write_demo_data(
    out: Annotated[Path, typer.Option(help="Folder for records.csv, which is for the sites.")],
    public: Annotated[
        Path | None, typer.Option(help="Folder for public-validation.csv, which is for the server; the same if none.")
    ] = None,
) -> None:
    """Write the Wisconsin breast-cancer table; the same files each time."""
    from fedpriv_client.data.breast_cancer import write_files  # scikit-learn takes a second to import

    for path in write_files(out, public):
        typer.echo(path)


@ledger_app.command("init")
def init_ledger(
    ledger: LedgerPlace,
    marker: MarkerPlace,
    contract: ContractName,
    site_key: Annotated[Path, typer.Option(envvar="FEDPRIV_SITE_KEY", help="Made when it is not there.")],
    partition: Partition = 0,
    partitions: Annotated[int, typer.Option(envvar="FEDPRIV_PARTITIONS", min=1)] = 1,
    every: Annotated[bool, typer.Option("--every", help="All partitions; the paths hold {partition}.")] = False,
    policy: PolicyPath = None,
    kms_key: KmsKey = None,
) -> None:
    """Begin the ledger of a data set that has never been used. Done twice, it changes nothing."""
    if partition >= partitions:
        raise typer.BadParameter(f"partition {partition} is not one of 0…{partitions - 1}")
    if every and not all(PLACEHOLDER in str(path) for path in (ledger, marker)):
        raise typer.BadParameter(f"--every needs {PLACEHOLDER} in --ledger and --marker")
    if kms_key is None and any(isinstance(own_place(place, 0), S3Url) for place in (ledger, marker)):
        raise typer.BadParameter("a ledger or marker in S3 needs --kms-key, the key that encrypts it")
    declared = load_contract(contract)
    rules = load_policy(policy, declared)
    _make_site_key(site_key)
    for number in range(partitions) if every else (partition,):
        own_ledger, own_marker = own_place(ledger, number), own_place(marker, number)
        identity = LedgerIdentity(
            dataset=declared.dataset,
            partition=number,
            partitions=partitions,
            held_out_share=rules.held_out_share,
            site_key_commitment=SiteKey.read(site_key).commitment(),
            canonical_form=CANONICAL_FORM,
        )
        if share_storage(own_ledger, own_marker):
            raise typer.BadParameter(f"{own_marker} would be lost together with the ledger; use another prefix")
        # A marker without its ledger is a loss, not a beginning.
        kept = open_marker(own_marker, kms_key)
        store = (create_store if kept.read() is None else open_store)(own_ledger, kms_key)
        Ledger.begin(store, kept, identity)
        typer.echo(f"{own_ledger} is the ledger of {declared.dataset}, partition {number} of {partitions}.")


@ledger_app.command("show")
def show_ledger(
    ledger: LedgerPlace,
    marker: MarkerPlace,
    contract: ContractName,
    partition: Partition = 0,
    policy: PolicyPath = None,
) -> None:
    """Show what was spent, what is held for open runs and what remains."""
    declared = load_contract(contract)
    rules = load_policy(policy, declared)
    delta = rules.delta_for(declared)
    with open_own(ledger, marker, partition).reading() as history:
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
                spell_spent(epsilon(run.charged(), delta)),
            )
        unit = history.unit() or rules.units[0]
        spent = epsilon(history.charged(), delta)
        held = epsilon([*history.charged(), *history.held()], delta)
    console = Console()
    console.print(table)
    console.print(
        f"Spent ε {spell_spent(spent)}, with what open runs hold {spell_spent(held)}, of {spell_limit(rules.epsilon)}; "
        f"remaining {spell_left(rules.epsilon - held)} (δ {delta:g}, add/remove one {unit})"
    )
    if note := declared.unprotected(unit):
        console.print(f"Note: {note}")


@ledger_app.command("verify")
def verify_ledger(ledger: LedgerPlace, marker: MarkerPlace, partition: Partition = 0) -> None:
    """Check the whole chain against its marker; exits non-zero at the first entry that does not fit."""
    with open_own(ledger, marker, partition).reading() as history:
        typer.echo(f"{history.seq + 1} entries, head {history.head}")


@ledger_app.command("export")
def export_ledger(ledger: LedgerPlace, marker: MarkerPlace, partition: Partition = 0) -> None:
    """Write one JSON line per reservation, in its latest state, to standard output."""
    for line in open_own(ledger, marker, partition).export():
        typer.echo(json.dumps(line, sort_keys=True))


def _make_site_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return
    path.write_text(secrets.token_hex(32) + "\n")
