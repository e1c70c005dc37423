"""Bucket and key in a real emulator: made once, repaired after a crash that lost them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore
from fedpriv_server.provision.bucket import LEDGERS, Storage, bucket_policy, provision_storage
from tests.emulator import Emulator, free_port

ALIAS = "alias/test"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One of this module's own, because its tests kill it."""
    emulator = Emulator(tmp_path_factory.mktemp("aws"))
    with pytest.MonkeyPatch.context() as environment:
        for key, value in emulator.environment.items():
            environment.setenv(key, value)
        emulator.start()
        yield emulator
        emulator.stop()


def rules(bucket: str) -> dict[str, Any]:
    """Everything that provisioning sets on a bucket."""
    s3 = boto3.client("s3")
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    return {
        "encryption": encryption["ApplyServerSideEncryptionByDefault"],
        "bucket_key": encryption["BucketKeyEnabled"],
        "public": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
        "versioning": s3.get_bucket_versioning(Bucket=bucket)["Status"],
        "policy": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
    }


def assert_provisioned(storage: Storage) -> None:
    found = rules(storage.bucket)
    assert found["encryption"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": storage.kms_key}
    assert found["bucket_key"]
    assert set(found["public"].values()) == {True}
    assert found["versioning"] == "Enabled"
    assert {statement["Sid"] for statement in found["policy"]["Statement"]} == {
        "RecordsAreWrittenOnce",
        "NothingIsDeleted",
        "NoOtherKey",
    }
    kms = boto3.client("kms")
    assert kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["Arn"] == storage.kms_key
    assert kms.get_key_rotation_status(KeyId=storage.kms_key)["KeyRotationEnabled"]


def test_a_second_call_finds_the_same_key_and_sets_the_same_rules(emulator: Emulator) -> None:
    first = provision_storage("twice", ALIAS)
    before = rules("twice")
    assert provision_storage("twice", ALIAS) == first
    assert rules("twice") == before
    assert_provisioned(first)
    assert len(boto3.client("kms").list_keys()["Keys"]) == 1


def test_nothing_in_a_ledger_bucket_is_written_twice_or_deleted(emulator: Emulator) -> None:
    storage = provision_storage("ledgers", ALIAS, LEDGERS)
    found = rules("ledgers")
    statements = {statement["Sid"]: statement for statement in found["policy"]["Statement"]}
    assert set(statements) == {"RecordsAreWrittenOnce", "NothingIsDeleted", "NoOtherKey"}
    for sid in ("RecordsAreWrittenOnce", "NothingIsDeleted"):
        assert (statements[sid]["Effect"], statements[sid]["Principal"]) == ("Deny", "*")
        assert statements[sid]["Resource"] == "arn:aws:s3:::ledgers/*"
    assert found["encryption"]["KMSMasterKeyID"] == storage.kms_key
    assert bucket_policy("ledgers", storage.kms_key, LEDGERS)["Statement"][-1]["Sid"] == "OnlyOverTls"


def test_objects_are_encrypted_with_the_key_even_when_the_writer_names_none(emulator: Emulator) -> None:
    storage = provision_storage("encrypted", ALIAS)
    boto3.client("s3").put_object(Bucket="encrypted", Key="v1/a", Body=b"x", IfNoneMatch="*")
    head = boto3.client("s3").head_object(Bucket="encrypted", Key="v1/a")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", storage.kms_key)


def test_a_lost_alias_is_set_to_the_key_that_the_bucket_was_encrypted_with(emulator: Emulator) -> None:
    storage = provision_storage("alias", ALIAS)
    boto3.client("kms").delete_alias(AliasName=ALIAS)
    assert provision_storage("alias", ALIAS) == storage
    assert_provisioned(storage)


def test_a_disabled_key_is_a_persons_to_enable(emulator: Emulator) -> None:
    storage = provision_storage("disabled", ALIAS)
    kms = boto3.client("kms")
    kms.disable_key(KeyId=storage.kms_key)
    with pytest.raises(FedprivError, match="is in state Disabled") as refusal:
        provision_storage("disabled", ALIAS)
    assert refusal.value.code is ErrorCode.STORE_UNAVAILABLE
    kms.enable_key(KeyId=storage.kms_key)


@pytest.mark.parametrize("interrupt", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_after_a_restart_of_the_emulator_everything_is_there_again(
    emulator: Emulator, interrupt: signal.Signals
) -> None:
    name = f"restart-{interrupt.name.lower()}"
    storage = provision_storage(name, ALIAS)
    ObjectStore.connect(name, storage.kms_key).put_once("v1/runs/a", b"kept")
    emulator.stop(interrupt)
    emulator.start()
    repaired = provision_storage(name, ALIAS)
    assert_provisioned(repaired)
    assert ObjectStore.connect(name, repaired.kms_key).get("v1/runs/a") == b"kept"
    if interrupt is signal.SIGTERM:
        assert repaired == storage


def test_an_emulator_that_is_away_is_said_in_one_line(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(FedprivError, match="Could not connect") as refusal:
        provision_storage("away", ALIAS)
    assert refusal.value.code is ErrorCode.STORE_UNAVAILABLE
    assert "\n" not in str(refusal.value)
