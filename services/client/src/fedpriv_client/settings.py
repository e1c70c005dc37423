"""What a site is told at its start: environment variables, read once."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from fedpriv_client.privacy.ledger.location import Location, S3Url, parse_location, share_storage
from fedpriv_common.records import GLOBAL, SiteName
from fedpriv_common.settings import ServiceSettings

#: In a setting, stands for the number of the partition that this process has.
PLACEHOLDER = "{partition}"
#: What differs between identical processes that take a partition each.
_PER_PARTITION = ("site", "node_key", "ledger", "ledger_marker", "state_dir")

_SITE_NAME: TypeAdapter[str] = TypeAdapter(SiteName)
_HOST_AND_PORT = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$")


def _server_url(value: str) -> str:
    """`host:port` or `https://host[:port]` as a URL without a path."""
    address = value.removeprefix("https://").rstrip("/")
    if value.startswith("https://") and not re.search(r":[0-9]+$", address):
        address += ":443"
    matched = _HOST_AND_PORT.match(address)
    if matched is None or not 0 < int(matched[2]) < 65_536:
        raise ValueError("expected host:port or https://host:port; plain http is not used")
    return f"https://{address}"


class SiteSettings(ServiceSettings):
    """Settings of `fedpriv-site`. An empty variable counts as one that is not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    site: Annotated[str, Field(description="this site's name, as on the server's allow-list")]
    server: Annotated[str, AfterValidator(_server_url), Field(description="host:port or https URL of the server")]
    ca: Annotated[Path, Field(description="certificate, PEM, that signed the server's")]
    node_key: Annotated[Path, Field(description="this site's P-256 private key, PEM")]
    contract: Annotated[str, Field(description="built-in data contract or a YAML file")]
    data: Annotated[Path, Field(description="the table, CSV")]
    policy: Annotated[Path | None, Field(description="the site's own rules, YAML; none: the defaults")] = None
    ledger: Annotated[Location, Field(description="the privacy ledger: SQLite file or s3://bucket/prefix")]
    ledger_marker: Annotated[Location, Field(description="genesis marker, outside the ledger's storage")]
    ledger_kms_key: Annotated[
        str | None, Field(validate_default=True, description="customer key of a ledger in S3: id, ARN or alias/…")
    ] = None
    site_key: Annotated[Path, Field(description="secret that places records into partitions")]
    partition: Annotated[int, Field(ge=0, description="which part of the table is this site's, from 0")] = 0
    partitions: Annotated[int, Field(ge=1, description="how many sites share the table")] = 1
    state_dir: Annotated[Path, Field(description="what this process remembers, such as its node id")]
    lease_table: Annotated[
        str | None,
        Field(validate_default=True, description="DynamoDB table in which identical processes take a partition each"),
    ] = None
    lease_seconds: Annotated[
        float, Field(ge=1, le=600, description="how long a silent process keeps its partition")
    ] = 15.0
    prometheus_host: Annotated[IPv4Address | IPv6Address, Field(description="address on which figures are served")] = (
        IPv4Address("127.0.0.1")
    )
    prometheus_port: Annotated[int, Field(ge=0, le=65_535, description="0: off")] = 9464
    image_digest: Annotated[
        str | None,
        Field(pattern=r"^sha256:[0-9a-f]{64}$", description="digest of the image that runs, for privacy statements"),
    ] = None
    audit: Annotated[
        Path | None, Field(description="result of `fedpriv audit` that privacy statements are to quote")
    ] = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("site")
    @classmethod
    def _a_site_name(cls, site: str) -> str:
        _SITE_NAME.validate_python(site.replace(PLACEHOLDER, "0"))
        if site == GLOBAL:
            raise ValueError(f"{GLOBAL!r} names the aggregated model; choose another name")
        return site

    @field_validator("partitions")
    @classmethod
    def _partition_exists(cls, partitions: int, info: ValidationInfo) -> int:
        partition = info.data.get("partition")
        if partition is not None and partition >= partitions:
            raise ValueError(f"partition {partition} is not one of 0…{partitions - 1}")
        return partitions

    @field_validator("ledger_marker")
    @classmethod
    def _marker_apart(cls, marker: Path | S3Url, info: ValidationInfo) -> Path | S3Url:
        ledger = info.data.get("ledger")
        if ledger is not None and share_storage(ledger, marker):
            raise ValueError(f"{marker} would be lost together with the ledger; keep it under another prefix")
        return marker

    @field_validator("ledger_kms_key")
    @classmethod
    def _encrypted(cls, kms_key: str | None, info: ValidationInfo) -> str | None:
        if kms_key is None and any(isinstance(info.data.get(name), S3Url) for name in ("ledger", "ledger_marker")):
            raise ValueError("needed for a ledger or marker in S3")
        return kms_key

    @field_validator("lease_table")
    @classmethod
    def _written_under_a_lease(cls, table: str | None, info: ValidationInfo) -> str | None:
        if table is None and isinstance(info.data.get("ledger"), S3Url):
            raise ValueError("needed for a ledger in S3, which is written only under the partition's lease")
        return table

    @field_validator("lease_table")
    @classmethod
    def _partitions_apart(cls, table: str | None, info: ValidationInfo) -> str | None:
        shared = [name for name in _PER_PARTITION if name in info.data and PLACEHOLDER not in str(info.data[name])]
        if table is not None and shared:
            names = ", ".join(f"FEDPRIV_{name.upper()}" for name in shared)
            raise ValueError(f"with a lease, {names} must hold {PLACEHOLDER}: each partition has its own")
        return table

    def for_partition(self, partition: int) -> Self:
        """The settings of the process that has this partition: each placeholder is its number."""

        def own(name: str) -> object:
            value = getattr(self, name)
            text = str(value).replace(PLACEHOLDER, str(partition))
            return parse_location(text) if isinstance(value, S3Url) else type(value)(text)

        return self.model_copy(update={"partition": partition, **{name: own(name) for name in _PER_PARTITION}})
