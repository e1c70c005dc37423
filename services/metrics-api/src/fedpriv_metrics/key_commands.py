"""`fedpriv-metrics key`: make, list and revoke API keys. A running API notices within a second."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_metrics.keyring import Entry, KeyFile, digest, new_key, read_keys
from fedpriv_metrics.viewer import Role

app = typer.Typer(
    name="fedpriv-metrics",
    help="The metrics API. Without a command it serves, set by FEDPRIV_* variables.",
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys: who may read.", no_args_is_help=True)
app.add_typer(keys, name="key")

FileOption = Annotated[Path, typer.Option("--file", envvar="FEDPRIV_KEYS_FILE", help="the file of the keys' digests")]
NameArgument = Annotated[str, typer.Argument(help="who holds the key: lower-case letters, digits, . _ -")]


@keys.command("add")
def add(
    name: NameArgument,
    role: Annotated[Role, typer.Option(help="what the holder may read; see docs/reference/api.md")],
    file: FileOption,
    site: Annotated[str | None, typer.Option(help="of the role site: its name, as on the server's allow-list")] = None,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="the day, UTC, on which it stops being good")
    ] = None,
) -> None:
    """Make a key and print it, once: the file holds its digest only."""
    key = new_key()
    until = expires.replace(tzinfo=UTC) if expires else None
    try:
        entry = Entry(name=name, role=role, site=site, sha256=digest(key), expires=until)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the key"
        raise typer.BadParameter(f"{where}: {fault['msg']}") from None
    with _changing(file) as held:
        if any(known.name == name for known in held):
            raise typer.BadParameter(f"{name} has a key; `key remove {name}` first, or add one of another name")
        held.append(entry)
    typer.echo(key)
    typer.echo(f"Shown once. {file} holds its digest; a running API takes it within a second.", err=True)


@keys.command("list")
def list_keys(file: FileOption) -> None:
    """Who holds a key, what they may read, and until when."""
    for entry in read_keys(file).keys:
        whose = f"{entry.role} {entry.site}" if entry.site else str(entry.role)
        until = f"until {entry.expires:%Y-%m-%d}" if entry.expires else "no end"
        typer.echo(f"{entry.name}\t{whose}\t{until}")


@keys.command("remove")
def remove(name: NameArgument, file: FileOption) -> None:
    """Revoke a key: whoever presents it is refused from the next second on, and its open streams end."""
    with _changing(file) as held:
        kept = [entry for entry in held if entry.name != name]
        if len(kept) == len(held):
            raise typer.BadParameter(f"nobody called {name} has a key in {file}")
        held[:] = kept


@contextmanager
def _changing(path: Path) -> Iterator[list[Entry]]:
    """The entries, to be changed in place; then the file is replaced as a whole, so that no reader finds half of it."""
    try:
        # The lock is a file of its own: the other one is replaced under whoever waits for it.
        with Path(f"{path}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = list(read_keys(path).keys) if path.exists() else []
            yield held
            text = KeyFile(keys=tuple(held)).model_dump_json(indent=2) + "\n"
            fresh = Path(f"{path}.new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                # Whoever runs the API must still be able to read it, or it would go on with the keys of before.
                if path.exists():
                    before = path.stat()
                    os.fchmod(descriptor, before.st_mode & 0o640)
                    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(descriptor, before.st_uid, before.st_gid)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
    except OSError as error:
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"Cannot write the API keys at {path} ({error.strerror}).",
            "Check the folder and its mode.",
        ) from None


def command() -> None:
    """Run the command line; a FedprivError becomes one line on standard error and its exit status."""
    try:
        app()
    except FedprivError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_status)
