"""Signatures over statements: what is signed, by which keys, and how it is checked.

Signed is a line that names the kind of document, then its canonical JSON. A site's node key also authenticates its
connection; with the line in front, no signature made for one purpose is of any use for another.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from fedpriv_common.canonical import canonical_json, sha256_hex
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.statement.schema import Signature, SignedPart, SitePart, Statement

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

#: In front of what is signed, by type of document.
_CONTEXT: Final = {SitePart: b"fedpriv site part 2.0\n", Statement: b"fedpriv privacy statement 2.0\n"}


def signed_bytes(document: SitePart | Statement) -> bytes:
    """What a signature of the document covers."""
    return _CONTEXT[type(document)] + canonical_json(document.model_dump(mode="json"))


def sign_part(part: SitePart, key: ec.EllipticCurvePrivateKey) -> SignedPart:
    """The part with the signature of the site's P-256 node key."""
    value = key.sign(signed_bytes(part), ec.ECDSA(SHA256()))
    return SignedPart(part=part, signature=make_signature(value, key.public_key()))


def make_signature(value: bytes, key: PublicKey) -> Signature:
    """The signature `value` (ECDSA: in DER) as a statement holds it."""
    algorithm = "ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "ecdsa-p256-sha256"
    return Signature.model_validate(
        {"algorithm": algorithm, "key": fingerprint(key), "value": base64.b64encode(value).decode()}
    )


def holds(document: SitePart | Statement, signature: Signature, key: PublicKey) -> bool:
    """Whether `signature` is one of `key` over the document, spelled in the one way there is."""
    try:
        value = base64.b64decode(signature.value, validate=True)
    except ValueError:
        return False
    if make_signature(value, key) != signature:
        return False
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(value, signed_bytes(document))
        else:
            key.verify(value, signed_bytes(document), ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def fingerprint(key: PublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo in DER, 64 hexadecimal digits."""
    return sha256_hex(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def parse_public_key(pem: bytes) -> PublicKey:
    """A P-256 or Ed25519 public key; raises ValueError for anything else."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("not an Ed25519 or P-256 public key in PEM form")


def read_public_key(path: Path) -> PublicKey:
    """The public key in a file; raises BAD_KEY."""
    try:
        return parse_public_key(path.read_bytes())
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
    except ValueError as error:
        fault = f"is {error}"
    raise FedprivError(
        ErrorCode.BAD_KEY,
        f"{path} {fault}.",
        "Ask the hub, or the site, for its public key; `fedpriv provision` leaves them all in the auditor's folder.",
    )
