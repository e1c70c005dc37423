"""What the metrics API is told at its start: environment variables, read once."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from fedpriv_common.settings import ServiceSettings


class MetricsSettings(ServiceSettings):
    """Settings of `fedpriv-metrics`. An empty variable counts as one that is not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    host: IPv4Address | IPv6Address = IPv4Address("127.0.0.1")
    port: Annotated[int, Field(ge=1, le=65_535)] = 8000
    bucket: Annotated[str, Field(min_length=3, max_length=63, description="that the server writes to")]
    kms_key_id: Annotated[str, Field(description="not needed for reading")] = ""
    poll_seconds: Annotated[float, Field(ge=0.05, le=60, description="between readings while a run is active")] = 0.5
    auditor_keys: Annotated[
        Path | None, Field(description="folder of public keys that privacy statements are checked with")
    ] = None
    auth: Annotated[
        Literal["keys", "none"], Field(description="who may read: holders of API keys, or whoever reaches the address")
    ] = "none"
    everybody_reads: Annotated[
        bool,
        Field(
            description="without keys on an address that others reach: true says that this is meant",
            validate_default=True,
        ),
    ] = False
    keys_file: Annotated[
        Path | None,
        Field(description="API keys, as `fedpriv-metrics key` writes them; for `keys`", validate_default=True),
    ] = None
    requests_per_second: Annotated[
        float, Field(ge=0, le=100_000, description="of each key, or of each address; 0: as many as they like")
    ] = 300.0
    requests_at_once: Annotated[int, Field(ge=1, le=1_000_000, description="that may come at one moment of these")] = (
        1000
    )
    streams: Annotated[int, Field(ge=1, le=20_000, description="event streams at one time")] = 1000
    streams_per_viewer: Annotated[
        int, Field(ge=1, le=20_000, description="of these with one key, or of one address")
    ] = 500
    connections: Annotated[int, Field(ge=10, le=50_000, description="at one time; what comes above is told so")] = 2000
    prometheus_port: Annotated[int, Field(ge=0, le=65_535, description="0: off")] = 9464
    cors_origins: Annotated[
        tuple[str, ...], NoDecode, Field(description="comma-separated; none: only pages of this origin may read")
    ] = ()
    contracts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="comma-separated YAML files of data contracts to plan for; the built-in one is always there"),
    ] = ()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("everybody_reads")
    @classmethod
    def _meant(cls, meant: bool, told: ValidationInfo) -> bool:
        host = told.data.get("host")
        if told.data.get("auth") == "none" and host is not None and not host.is_loopback and not meant:
            raise ValueError(
                f"FEDPRIV_AUTH is none, so everybody who reaches {host} would read everything. Set FEDPRIV_AUTH=keys "
                "and FEDPRIV_KEYS_FILE, or listen on 127.0.0.1; set this to true if everybody is meant to"
            )
        return meant

    @field_validator("keys_file")
    @classmethod
    def _named(cls, path: Path | None, told: ValidationInfo) -> Path | None:
        if told.data.get("auth") == "keys" and path is None:
            raise ValueError("FEDPRIV_AUTH is keys: name the file that `fedpriv-metrics key add` makes")
        return path

    @field_validator("cors_origins", "contracts", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _explicit(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}" or "*" in origin:
                raise ValueError(f"{origin!r} is no origin such as https://dashboard.example; '*' is not allowed")
        return origins
