"""Who signs for the hub: a local Ed25519 key, or a KMS key that never leaves AWS."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

from fedpriv_common.aws import connect, error_code
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.settings import read_secret
from fedpriv_common.statement.schema import SignedStatement, Statement
from fedpriv_common.statement.sign import make_signature, signed_bytes

log = logging.getLogger(__name__)

#: Longest that one call to KMS may take, seconds; boto3 makes three attempts.
_KMS_TIMEOUT_S: Final = 3.0
#: What KMS answers when it is the setting that is wrong: no later attempt would go better.
_WRONG: Final = ("NotFoundException", "AccessDeniedException", "UnsupportedOperationException", "ValidationException")


class Notary(Protocol):
    """Signs statements for the hub. Calls may block for seconds."""

    def sign(self, statement: Statement) -> SignedStatement:
        """The countersigned statement; raises STORE_UNAVAILABLE when the key cannot be reached now."""
        ...


def open_notary(key: str) -> Notary:
    """The notary of FEDPRIV_STATEMENT_KEY: the path of a PEM file, or alias or ARN of a KMS key.

    Raises BAD_KEY for what is no such key. A KMS that does not answer does not keep the server from starting.
    """
    if not key.startswith(("alias/", "arn:")):
        return LocalNotary.read(Path(key))
    notary = KmsNotary(key, connect("kms", timeout_s=_KMS_TIMEOUT_S))
    try:
        notary.public_key()
    except FedprivError as error:
        if error.code is not ErrorCode.STORE_UNAVAILABLE:
            raise
        log.warning("statement_key_unseen", extra={"reason": str(error)})
    return notary


class LocalNotary:
    """Signs with an Ed25519 key in this process."""

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def read(cls, path: Path) -> LocalNotary:
        """The notary of a key's file; raises BAD_KEY."""
        try:
            key = load_pem_private_key(read_secret(path, "statement key").encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise FedprivError(
                ErrorCode.BAD_KEY,
                f"FEDPRIV_STATEMENT_KEY: {path} is no Ed25519 private key in PEM without a passphrase.",
                "`fedpriv provision` makes one; restore it, or have a new one made and tell the auditors.",
            )
        return cls(key)

    def sign(self, statement: Statement) -> SignedStatement:
        """The countersigned statement."""
        signature = make_signature(self._key.sign(signed_bytes(statement)), self._key.public_key())
        return SignedStatement(statement=statement, signature=signature)


class KmsNotary:
    """Signs with an asymmetric KMS key: P-256, for signing."""

    def __init__(self, key_id: str, kms: Any) -> None:
        self._key_id = key_id
        self._kms = kms
        self._public: ec.EllipticCurvePublicKey | None = None

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key's public half, asked for once; raises BAD_KEY for another kind of key, STORE_UNAVAILABLE."""
        if self._public is None:
            key = load_der_public_key(self._call(self._kms.get_public_key)["PublicKey"])
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                raise _wrong(self._key_id, "it is no ECC_NIST_P256 key")
            self._public = key
        return self._public

    def sign(self, statement: Statement) -> SignedStatement:
        """The countersigned statement; raises STORE_UNAVAILABLE, BAD_KEY."""
        public = self.public_key()
        # KMS takes messages of 4 kB, so it gets the digest.
        value = self._call(
            self._kms.sign,
            Message=hashlib.sha256(signed_bytes(statement)).digest(),
            MessageType="DIGEST",
            SigningAlgorithm="ECDSA_SHA_256",
        )["Signature"]
        return SignedStatement(statement=statement, signature=make_signature(value, public))

    def _call(self, method: Any, **arguments: object) -> Any:
        try:
            return method(KeyId=self._key_id, **arguments)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error_code(error) in _WRONG:
                raise _wrong(self._key_id, str(error)) from None
            raise FedprivError(
                ErrorCode.STORE_UNAVAILABLE,
                f"KMS does not sign with {self._key_id}: {error}.",
                "Check the endpoint and the credentials; statements wait on the server's disk and are signed later.",
            ) from None


def _wrong(key_id: str, reason: str) -> FedprivError:
    return FedprivError(
        ErrorCode.BAD_KEY,
        f"FEDPRIV_STATEMENT_KEY: {key_id} cannot sign statements: {reason}.",
        "Give an asymmetric KMS key, ECC_NIST_P256 for SIGN_VERIFY, that this server may sign with.",
    )
