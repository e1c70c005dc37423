"""The key that countersigns privacy statements, and the public keys that an auditor checks them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from fedpriv_common.aws import connect, error_code
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_server.provision import files


def ensure_local_key(path: Path) -> bytes:
    """Make the Ed25519 key at `path` unless it is there; returns its public half, PEM. Raises BAD_KEY."""
    fresh = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.create(path, fresh)
    if path.stat().st_mode & 0o077:
        path.chmod(files.PRIVATE)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{path} is not an Ed25519 private key in PEM form.",
            "Restore it from a copy, or move it away to have a new one made and tell the auditors.",
        )
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def ensure_kms_key(alias: str) -> bytes:
    """Make the signing key behind `alias` (`alias/…`) unless it is there; returns its public half, PEM.

    Raises STORE_UNAVAILABLE when KMS cannot be reached or declines.
    """
    try:
        kms = connect("kms")
        if not _exists(kms, alias):
            made = kms.create_key(
                KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Description="fedpriv: signs privacy statements"
            )
            kms.create_alias(AliasName=alias, TargetKeyId=made["KeyMetadata"]["KeyId"])
        public = load_der_public_key(kms.get_public_key(KeyId=alias)["PublicKey"])
    except (BotoCoreError, ClientError) as error:
        raise FedprivError(
            ErrorCode.STORE_UNAVAILABLE,
            f"KMS key {alias}: {error}.",
            "Check AWS_ENDPOINT_URL, the region, the credentials and what they may do.",
        ) from None
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hand_out(public: bytes, path: Path) -> None:
    """Leave a public key for auditors; raises BAD_KEY when they were given another one, which checks what it signed."""
    if not files.create(path, public, files.PUBLIC) and path.read_bytes().strip() != public.strip():
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{path} holds another key than the one in use.",
            "If it was replaced on purpose, rename the old one: auditors need it for what it signed. Then run again.",
        )


def _exists(kms: Any, alias: str) -> bool:
    try:
        kms.describe_key(KeyId=alias)
    except ClientError as error:
        if error_code(error) != "NotFoundException":
            raise
        return False
    return True
