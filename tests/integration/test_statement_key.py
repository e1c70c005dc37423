"""A KMS key that signs statements, as AWS keeps it: made once, never seen, checked with its public half."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.statement.sign import read_public_key
from fedpriv_common.statement.verify import State, verify
from fedpriv_server.notary import KmsNotary, open_notary
from fedpriv_server.provision.pki import provision_hub
from tests.emulator import Emulator
from tests.statements import MODEL, Consortium, encode

ALIAS = "alias/fedpriv-statements"


def test_kms_signs_what_verifies_with_the_auditors_copy_of_its_key(aws_endpoint: str, tmp_path: Path) -> None:
    hub = provision_hub(tmp_path / "hub", statement_kms_alias=ALIAS)
    provision_hub(tmp_path / "hub", statement_kms_alias=ALIAS)
    assert not hub.statement_key.exists(), "the key is in KMS only"
    consortium = Consortium.ran(tmp_path)
    notary = open_notary(ALIAS)
    assert isinstance(notary, KmsNotary)
    body = encode(notary.sign(consortium.statement()))
    public = read_public_key(hub.statement_public_key)
    report = verify(body, public, consortium.site_keys, model=MODEL)
    assert [finding.what for finding in report.findings if finding.state is State.FAILED] == []


def test_a_key_that_cannot_sign_statements_is_told_at_the_start(aws_endpoint: str) -> None:
    kms = boto3.client("kms")
    for key in (
        {},
        {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"},
        {"KeySpec": "ECC_NIST_P384", "KeyUsage": "SIGN_VERIFY"},
    ):
        arn = kms.create_key(**key)["KeyMetadata"]["Arn"]
        with pytest.raises(FedprivError) as refused:
            open_notary(arn)
        assert refused.value.code is ErrorCode.BAD_KEY, key
    with pytest.raises(FedprivError) as refused:
        open_notary("alias/nobody")
    assert refused.value.code is ErrorCode.BAD_KEY


def test_a_kms_that_is_away_keeps_no_server_from_starting(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key, value in emulator.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    notary = open_notary(ALIAS)
    with pytest.raises(FedprivError) as refused:
        notary.sign(Consortium.ran(tmp_path).statement())
    assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
