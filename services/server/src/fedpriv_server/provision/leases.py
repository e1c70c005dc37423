"""The table in which identical site processes take a partition each."""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from fedpriv_common.aws import connect, error_code
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.lease_table import DATASET, PARTITION

#: Attempts to see a new table become active, one a second.
_ATTEMPTS: Final = 60


def provision_leases(table: str, kms_key: str) -> None:
    """Make the table unless it is there, encrypted with `kms_key` (an ARN). Its rows are made by who takes them.

    Raises STORE_UNAVAILABLE when AWS cannot be reached or declines, or when a table of that name has other keys.
    """
    dynamodb = connect("dynamodb")
    try:
        try:
            _create(dynamodb, table, kms_key)
        except ClientError as error:
            if error_code(error) != "ResourceInUseException":  # it is there, or being made by someone else
                raise
        dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": _ATTEMPTS})
        schema = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
    except (BotoCoreError, ClientError, WaiterError) as error:
        raise FedprivError(
            ErrorCode.STORE_UNAVAILABLE,
            f"Lease table {table}: {error}.",
            "Check AWS_ENDPOINT_URL, the region, the credentials and what they may do.",
        ) from None
    if schema != _SCHEMA:
        raise FedprivError(
            ErrorCode.STORE_UNAVAILABLE,
            f"Table {table} is there, but it is no lease table: its keys are {schema}.",
            "Choose another name for the lease table.",
        )


_SCHEMA: Final = [
    {"AttributeName": DATASET, "KeyType": "HASH"},
    {"AttributeName": PARTITION, "KeyType": "RANGE"},
]


def _create(dynamodb: Any, table: str, kms_key: str) -> None:
    dynamodb.create_table(
        TableName=table,
        KeySchema=_SCHEMA,
        AttributeDefinitions=[
            {"AttributeName": DATASET, "AttributeType": "S"},
            {"AttributeName": PARTITION, "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": kms_key},
    )
