"""`fedpriv verify`: for auditors. It reads files, and nothing from anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedpriv_common.statement.verify import Report

app = typer.Typer()


@app.command("verify")
def verify_statement(
    statement: Annotated[Path, typer.Argument(help="statement.json, as it was stored.")],
    hub_key: Annotated[Path, typer.Option(help="Public key of the hub, PEM.")],
    site_key: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PEM", help="Public key of a site that must be in it; repeat.")
    ] = None,
    site_keys: Annotated[
        Path | None, typer.Option(help="Folder of public keys, NAME.pem, of sites that may be in it.")
    ] = None,
    unsigned: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Put up with a site that signed no part; repeat.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="The model's file, to compare.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the statement as a page, HTML, if it is genuine.")] = None,
) -> None:
    """Check a privacy statement: every signature by the keys given here, every epsilon computed anew."""
    from fedpriv_common.errors import ErrorCode, FedprivError
    from fedpriv_common.statement.page import render
    from fedpriv_common.statement.sign import PublicKey, read_public_key
    from fedpriv_common.statement.verify import parse, verify

    keys: dict[str, PublicKey] = {}
    if site_keys is not None:
        keys = {path.stem: read_public_key(path) for path in sorted(site_keys.glob("*.pem"))}
    named = {name: read_public_key(path) for name, path in map(_name_and_path, site_key or ())}
    body = _read(statement)
    report = verify(
        body,
        read_public_key(hub_key),
        keys | named,
        expected=set(named),
        unsigned=set(unsigned or ()),
        model=None if model is None else _read(model),
    )
    _print(report)
    failure = report.first_failure
    if failure is not None:
        raise FedprivError(
            ErrorCode.STATEMENT_INVALID,
            f"{statement}: {failure.what}: {failure.detail}.",
            "Do not rely on it: ask the hub for the file as stored, and hub and site for their keys.",
        )
    if page is not None:
        page.write_text(render(parse(body)), encoding="utf-8")
        typer.echo(f"page: {page}")


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("check", "", "what was found", box=None, pad_edge=False)
    for finding in report.findings:
        table.add_row(finding.what, finding.state, finding.detail)
    Console(highlight=False, markup=False, width=None if Console().is_terminal else 160).print(table)


def _name_and_path(option: str) -> tuple[str, Path]:
    name, equals, path = option.partition("=")
    if not (name and equals and path):
        raise typer.BadParameter(f"{option!r} is not NAME=PEM, as in site-1=site-1.pem", param_hint="--site-key")
    return name, Path(path)


def _read(path: Path) -> bytes:
    from fedpriv_common.errors import ErrorCode, FedprivError

    try:
        return path.read_bytes()
    except OSError as error:
        raise FedprivError(
            ErrorCode.STATEMENT_INVALID, f"{path} cannot be read ({error.strerror}).", "Check the path."
        ) from None
