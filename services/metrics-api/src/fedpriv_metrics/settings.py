"""What the metrics API is told at its start: environment variables, read once."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
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
