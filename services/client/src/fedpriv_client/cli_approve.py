"""`fedpriv approve`: a person reads what a run asks for, and grants or denies it (docs/how-to-approve.md)."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedpriv_client.cli_options import ContractName, KmsKey, LedgerPlace, MarkerPlace, Partition, PolicyPath, open_own
from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.policy import Policy, load_policy
from fedpriv_client.privacy.requests import RunRequest, RunRequests
from fedpriv_client.privacy.review import describe, standing
from fedpriv_client.settings import PLACEHOLDER
from fedpriv_common.contract import DataContract, load_contract
from fedpriv_common.errors import ErrorCode, FedprivError, RefusalError

approve_app = typer.Typer(help="Runs that wait for a person's approval.", no_args_is_help=True)

StateDir = Annotated[
    Path, typer.Option("--state-dir", envvar="FEDPRIV_STATE_DIR", help="The site's state folder, where requests wait.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="As `fedpriv approve list` shows it.")]
Person = Annotated[str | None, typer.Option("--by", help="Who says so; by default the operating system's user.")]


@approve_app.command("list")
def list_requests(ledger: LedgerPlace, marker: MarkerPlace, state_dir: StateDir, partition: Partition = 0) -> None:
    """List runs that the server asked for, newest first, and every approval in the ledger."""
    requests = {request.run_id: request for request in _requests(state_dir, partition).all()}
    table = Table("run", "recipe", "ε", "asked", "stands", box=None, pad_edge=False)
    with open_own(ledger, marker, partition).reading() as history:
        for request in requests.values():
            table.add_row(
                request.run_id,
                request.plan.recipe,
                f"{request.plan.epsilon:g}",
                f"{request.asked_at:%Y-%m-%d %H:%M}",
                standing(history, request.run_id, request.plan.digest()),
            )
        for run_id, plan_digest in history.approvals:
            if run_id not in requests:
                table.add_row(run_id, "", "", "", standing(history, run_id, plan_digest))
    Console(highlight=False, width=None if Console().is_terminal else 200).print(table)


@approve_app.command("show")
def show_request(
    run_id: RunId,
    ledger: LedgerPlace,
    marker: MarkerPlace,
    contract: ContractName,
    state_dir: StateDir,
    partition: Partition = 0,
    policy: PolicyPath = None,
) -> None:
    """Show what a run asks for and what it would cost."""
    declared = load_contract(contract)
    request = _request(state_dir, partition, run_id)
    _show(request, open_own(ledger, marker, partition), load_policy(policy, declared), declared)


@approve_app.command("grant")
def grant_request(
    run_id: RunId,
    ledger: LedgerPlace,
    marker: MarkerPlace,
    contract: ContractName,
    state_dir: StateDir,
    partition: Partition = 0,
    policy: PolicyPath = None,
    plan: Annotated[
        str | None, typer.Option(help="Digest of the plan as `show` printed it; without it you are asked.")
    ] = None,
    by: Person = None,
    kms_key: KmsKey = None,
) -> None:
    """Let a run begin, with exactly the plan that is shown. It is recorded in the ledger."""
    declared = load_contract(contract)
    request, opened = _request(state_dir, partition, run_id), open_own(ledger, marker, partition, kms_key)
    if plan is None:
        _show(request, opened, load_policy(policy, declared), declared)
        typer.confirm("Grant this run?", abort=True)
    elif plan != request.plan.digest():
        raise FedprivError(
            ErrorCode.NO_SUCH_REQUEST,
            f"Run {run_id} waits with plan {request.plan.digest()}, not with {plan}.",
            "Read what it asks for: `fedpriv approve show`.",
        )
    _record(opened, request, granted=True, by=by)


@approve_app.command("deny")
def deny_request(
    run_id: RunId,
    ledger: LedgerPlace,
    marker: MarkerPlace,
    state_dir: StateDir,
    partition: Partition = 0,
    by: Person = None,
    kms_key: KmsKey = None,
) -> None:
    """Keep a run from beginning. It is recorded in the ledger; the server is told that the policy refuses."""
    request, opened = _request(state_dir, partition, run_id), open_own(ledger, marker, partition, kms_key)
    _record(opened, request, granted=False, by=by)


def _folder(state_dir: Path, partition: int) -> Path:
    return Path(str(state_dir).replace(PLACEHOLDER, str(partition)))


def _requests(state_dir: Path, partition: int) -> RunRequests:
    return RunRequests(_folder(state_dir, partition))


def _request(state_dir: Path, partition: int, run_id: str) -> RunRequest:
    request = _requests(state_dir, partition).find(run_id)
    if request is None:
        raise FedprivError(
            ErrorCode.NO_SUCH_REQUEST,
            f"Run {run_id} does not wait for approval in {_folder(state_dir, partition)}.",
            "`fedpriv approve list` shows those that do; a run that was admitted or has ended waits no more.",
        )
    return request


def _show(request: RunRequest, ledger: Ledger, rules: Policy, declared: DataContract) -> None:
    with ledger.reading() as history:
        typer.echo(describe(request, history, rules, declared))


def _record(ledger: Ledger, request: RunRequest, *, granted: bool, by: str | None) -> None:
    person = by or os.environ.get("SUDO_USER") or _user()
    try:
        ledger.approve(request.run_id, request.plan.digest(), granted=granted, by=person[:100])
    except RefusalError as refusal:
        raise FedprivError(
            ErrorCode.LEDGER_BUSY, f"The ledger was not written: {refusal.detail}.", "Try again."
        ) from None
    typer.echo(f"{request.run_id} is {'granted' if granted else 'denied'} by {person}.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
