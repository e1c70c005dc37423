"""Who is who: the sites' public keys, the operator's key hash, the server's certificate.

Read at the start, and again whenever the files change.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.records import GLOBAL
from fedpriv_common.settings import read_secret

#: As `records.SiteName`: a site's name is part of object keys and labels.
_SITE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
#: Operator keys that may be valid at one time: each request is compared with all of them.
_MOST_HASHES: Final = 16


def read_allow_list(folder: Path) -> dict[str, bytes]:
    """PEM public key by site name, in order of names; raises BAD_SETTING or BAD_KEY naming the file at fault."""
    if not folder.is_dir():
        raise FedprivError(
            ErrorCode.BAD_SETTING,
            f"FEDPRIV_SITES_DIR: {folder} is not a folder.",
            "Make it hold one <site>.pem public key per site; `fedpriv provision` does.",
        )
    sites: dict[str, bytes] = {}
    holders: dict[bytes, str] = {}
    for path in sorted(folder.glob("*.pem")):
        if not _SITE_NAME.fullmatch(path.stem) or path.stem == GLOBAL:
            raise FedprivError(
                ErrorCode.BAD_SETTING,
                f"FEDPRIV_SITES_DIR: {path} does not carry the name of a site.",
                f"Use lower-case letters, digits and hyphens, at most 63, and not {GLOBAL!r}.",
            )
        key = _read_key(path)
        if key in holders:
            raise FedprivError(
                ErrorCode.BAD_KEY, f"{path} holds the key of {holders[key]}.", "Every site has a key of its own."
            )
        sites[path.stem] = key
        holders[key] = path.stem
    return sites


def _read_key(path: Path) -> bytes:
    """The key in the one spelling that Flower compares by."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise FedprivError(ErrorCode.BAD_KEY, f"{path} cannot be read ({error.strerror}).", "Check its mode.") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{path} is not a P-256 public key in PEM form.",
            "Ask the site for its public key again; `fedpriv provision` makes such keys.",
        )
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_key_hashes(path: Path) -> tuple[str, ...]:
    """The SHA-256 of each valid operator key, 64 hexadecimal digits a line; raises BAD_KEY."""
    digests = tuple(read_secret(path, "operator key's hash").lower().split())
    if len(digests) > _MOST_HASHES or not all(_HASH.fullmatch(digest) for digest in digests):
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{path} does not hold a SHA-256 in 64 hexadecimal digits.",
            "`fedpriv provision` makes the operator key and this file.",
        )
    return digests


def make_tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later; raises BAD_KEY for files that are no certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Of TLS 1.2 only suites with forward secrecy and authenticated encryption; those of 1.3 all have both.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Show this certificate to whoever connects from now on; raises BAD_KEY, and then `context` is as before."""
    try:
        # An empty password: for that of an encrypted key, OpenSSL would ask the terminal, and the server stand still.
        # Tried on another context first: one that took a certificate without its key would serve nobody.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{certificate} and {key} are not a certificate and its key ({error.strerror or error}).",
            "`fedpriv provision` makes both.",
        ) from None
