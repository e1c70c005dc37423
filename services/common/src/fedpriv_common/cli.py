"""The `fedpriv` command line. Each installed service adds its own commands by entry point."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer

from fedpriv_common import plan_cli
from fedpriv_common.errors import FedprivError
from fedpriv_common.statement import cli as statement_cli

app = typer.Typer(
    name="fedpriv",
    help="Federated learning with record-level differential privacy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Federated learning with record-level differential privacy."""


def main() -> None:
    """Run the command line; a FedprivError becomes one line on standard error and its exit status."""
    installed: list[typer.Typer] = [entry.load() for entry in entry_points(group="fedpriv.commands")]
    for commands in (plan_cli.app, statement_cli.app, *installed):
        for command in commands.registered_commands:
            app.registered_commands.append(command)
        for group in commands.registered_groups:
            app.registered_groups.append(group)
    try:
        app()
    except FedprivError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command line speaks on standard error
        sys.exit(error.exit_status)
