"""What a site is told at its start: environment variables, read once."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from fedpriv_common.records import GLOBAL, SiteName
from fedpriv_common.settings import ServiceSettings

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

    site: Annotated[SiteName, Field(description="this site's name, as on the server's allow-list")]
    server: Annotated[str, AfterValidator(_server_url), Field(description="host:port or https URL of the server")]
    ca: Annotated[Path, Field(description="certificate, PEM, that signed the server's")]
    node_key: Annotated[Path, Field(description="this site's P-256 private key, PEM")]
    contract: Annotated[str, Field(description="built-in data contract or a YAML file")]
    data: Annotated[Path, Field(description="the table, CSV")]
    policy: Annotated[Path | None, Field(description="the site's own rules, YAML; none: the defaults")] = None
    ledger: Annotated[Path, Field(description="SQLite file of the privacy ledger")]
    ledger_marker: Annotated[Path, Field(description="genesis marker, outside the ledger's volume")]
    site_key: Annotated[Path, Field(description="secret that places records into partitions")]
    partition: Annotated[int, Field(ge=0, description="which part of the table is this site's, from 0")] = 0
    partitions: Annotated[int, Field(ge=1, description="how many sites share the table")] = 1
    state_dir: Annotated[Path, Field(description="what this process remembers, such as its node id")]
    prometheus_host: Annotated[IPv4Address | IPv6Address, Field(description="address on which figures are served")] = (
        IPv4Address("127.0.0.1")
    )
    prometheus_port: Annotated[int, Field(ge=0, le=65_535, description="0: off")] = 9464
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("site")
    @classmethod
    def _not_the_aggregate(cls, site: str) -> str:
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
