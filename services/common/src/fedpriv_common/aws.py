"""How AWS is spoken to: deadlines on every call, a few retries, the account and endpoint of the environment."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def connect(service: str, *, timeout_s: float = 10.0, attempts: int = 3, connections: int = 10) -> Any:
    """A boto3 client of `service` on AWS_ENDPOINT_URL and with the credentials that boto3 finds."""
    config = Config(
        connect_timeout=min(3.0, timeout_s),
        read_timeout=timeout_s,
        retries={"max_attempts": attempts, "mode": "standard"},
        max_pool_connections=connections,
    )
    return boto3.client(service, config=config)


def error_code(error: ClientError) -> str:
    """What AWS calls the error."""
    return str(error.response.get("Error", {}).get("Code", ""))
