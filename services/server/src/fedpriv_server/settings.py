"""What the server is told by its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedpriv_common.settings import ServiceSettings


class ServerSettings(ServiceSettings):
    """Environment variables `FEDPRIV_*`; those without a default must be set."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    tls_cert: Annotated[Path, Field(description="the server's certificate, PEM")]
    tls_key: Annotated[Path, Field(description="its private key, PEM")]
    sites_dir: Annotated[Path, Field(description="allow-list: one `<site>.pem` public key per site")]
    operator_key_hash: Annotated[Path, Field(description="file with the SHA-256 of the operator key, hexadecimal")]
    reload_seconds: Annotated[
        float, Field(ge=0.1, le=3600, description="how often allow-list, operator key and certificate are looked at")
    ] = 2.0
    address_limits: Annotated[
        bool, Field(description="limit requests and connections of each address; off behind what hides addresses")
    ] = True
    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    kms_key_id: Annotated[str, Field(min_length=1)]
    statement_key: Annotated[
        str,
        Field(min_length=1, description="signs privacy statements: Ed25519 private key, PEM, or alias or ARN in KMS"),
    ]
    state_dir: Annotated[Path, Field(description="what still has to reach the bucket; must outlive the process")]
    contract: str = "breast-cancer-wisconsin"
    validation: Annotated[Path | None, Field(description="public validation set, CSV")] = None
    image_digest: Annotated[
        str | None,
        Field(pattern=r"^sha256:[0-9a-f]{64}$", description="digest of the image that runs, for privacy statements"),
    ] = None
    prometheus_port: Annotated[int, Field(ge=0, le=65535, description="0: off")] = 9464
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
