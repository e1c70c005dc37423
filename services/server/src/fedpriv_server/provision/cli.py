"""`fedpriv provision`: what a hub needs before its server starts for the first time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command("provision")
def provision(
    folder: Annotated[Path, typer.Option("--hub", help="Folder of the hub's keys and certificates.")],
    host: Annotated[list[str] | None, typer.Option(help="Name or address of the server; repeat for more.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Site to make a node key for; repeat for more.")] = None,
    node_keys: Annotated[
        Path | None, typer.Option(help="Folder of the sites' private keys, <site>.key; each belongs to its site.")
    ] = None,
    bucket: Annotated[str | None, typer.Option(help="Bucket to make or repair.", envvar="FEDPRIV_BUCKET")] = None,
    statement_kms_alias: Annotated[
        str | None, typer.Option(help="Alias of a KMS key that signs statements; none: a key in the server's folder.")
    ] = None,
    kms_alias: Annotated[str, typer.Option(help="Alias of the bucket's KMS key.")] = "alias/fedpriv",
    ledger_bucket: Annotated[
        str | None, typer.Option(help="Bucket for ledgers of sites without a disk.", envvar="FEDPRIV_LEDGER_BUCKET")
    ] = None,
    ledger_kms_alias: Annotated[
        str, typer.Option(help="Alias of the ledger bucket's KMS key.")
    ] = "alias/fedpriv-ledgers",
    lease_table: Annotated[
        str | None, typer.Option(help="Table of partition leases to make.", envvar="FEDPRIV_LEASE_TABLE")
    ] = None,
) -> None:
    """Make keys, certificates, buckets, lease table; what exists is kept, what expired or was lost repaired."""
    # Imported here so that `fedpriv --help` loads neither boto3 nor cryptography.
    from fedpriv_server.provision import bucket as storage
    from fedpriv_server.provision import leases, pki

    if site and node_keys is None:
        raise typer.BadParameter("--site needs --node-keys, the folder of the private keys.")
    if lease_table is not None and bucket is None:
        raise typer.BadParameter("--lease-table needs --bucket, whose KMS key encrypts both.")
    hub = pki.provision_hub(folder, host or (), statement_kms_alias=statement_kms_alias)
    typer.echo(f"hub keys and certificate: {folder}")
    if node_keys is not None:
        for name in site or ():
            pki.provision_site(hub, name, node_keys / f"{name}.key")
            typer.echo(f"site {name}: {node_keys / f'{name}.key'}, on the allow-list {hub.sites}")
        pki.hand_out_authority(hub, node_keys)
    if bucket is not None:
        made = storage.provision_storage(bucket, kms_alias)
        typer.echo(f"bucket {made.bucket}, encrypted with {made.kms_key}")
        if lease_table is not None:
            leases.provision_leases(lease_table, made.kms_key)
            typer.echo(f"lease table {lease_table}")
    if ledger_bucket is not None:
        made = storage.provision_storage(ledger_bucket, ledger_kms_alias, storage.LEDGERS)
        typer.echo(f"ledger bucket {made.bucket}, encrypted with {made.kms_key}")
