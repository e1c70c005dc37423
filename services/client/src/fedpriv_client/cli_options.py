"""Options that several of a site's commands take, and what they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.location import S3Url, parse_location
from fedpriv_client.privacy.ledger.opening import open_ledger
from fedpriv_client.settings import PLACEHOLDER

LedgerPlace = Annotated[
    str, typer.Option("--ledger", envvar="FEDPRIV_LEDGER", help="SQLite file of the ledger, or s3://bucket/prefix.")
]
MarkerPlace = Annotated[
    str, typer.Option("--marker", envvar="FEDPRIV_LEDGER_MARKER", help="Genesis marker, in another storage.")
]
KmsKey = Annotated[
    str | None, typer.Option("--kms-key", envvar="FEDPRIV_LEDGER_KMS_KEY", help="Customer key of a ledger in S3.")
]
ContractName = Annotated[
    str, typer.Option("--contract", envvar="FEDPRIV_CONTRACT", help="Built-in data contract or a YAML file.")
]
Partition = Annotated[
    int, typer.Option(envvar="FEDPRIV_PARTITION", min=0, help="Stands in for {partition} in the paths.")
]
PolicyPath = Annotated[Path | None, typer.Option("--policy", envvar="FEDPRIV_POLICY", help="The site's policy file.")]


def own_place(place: str | Path, partition: int) -> Path | S3Url:
    """A partition's own place, of the one that is given for all."""
    try:
        return parse_location(str(place).replace(PLACEHOLDER, str(partition)))
    except ValueError as error:
        raise typer.BadParameter(f"{place}: {error}") from None


def open_own(ledger: str, marker: str, partition: int, kms_key: str | None = None) -> Ledger:
    """A partition's ledger, verified; a ledger in S3 needs the key for writing only."""
    return open_ledger(own_place(ledger, partition), own_place(marker, partition), kms_key=kms_key)
