"""Keys and certificates of one hub: its own authority, the server's certificate, operator key and node keys.

Layout of the folder, one part for each that may read it, so that a part can be a volume of its own:

    authority/  ca.pem  ca.key                 the authority that sites trust: provisioning, nobody else
    server/     ca.pem  server.pem  server.key what the server shows them
                operator.sha256                what the server knows of the operator's key
                sites/<site>.pem               allow-list: a site takes part when its public key is here
                statement.key                  signs privacy statements, unless KMS does
    operator/   ca.pem  operator.key           whoever may start runs
    auditor/    hub.pem  sites/<site>.pem      public keys: with them anybody can check a privacy statement

A key is made once and never replaced here; how-to-rotate-keys.md says how a person does it. A certificate is made again
from the same key when it is about to expire, when its authority changed or when the server got another name; sites that
trust `ca.pem` notice nothing.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.records import GLOBAL
from fedpriv_common.stamp import stamp
from fedpriv_server.provision import files, statement_key

AUTHORITY_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=365)
#: A certificate is made again when less than this is left of it.
RENEW_BEFORE = timedelta(days=30)
#: A site's clock may be behind; a certificate is valid from a little before it was made.
BACKDATE = timedelta(hours=1)
#: Always in the server's certificate: the local checks of the server dial these.
LOCAL_NAMES = ("localhost", "127.0.0.1")

#: Name of every copy of the authority's certificate.
AUTHORITY_FILE = "ca.pem"

_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Hub:
    """Where the hub's keys and certificates are."""

    folder: Path

    @property
    def authority(self) -> Path:
        """Certificate of the hub's authority; everybody who dials the server gets a copy."""
        return self.folder / "authority" / AUTHORITY_FILE

    @property
    def authority_key(self) -> Path:
        """Private key of the authority; nobody but provisioning reads it."""
        return self.folder / "authority" / "ca.key"

    @property
    def server(self) -> Path:
        """Folder of everything that the server reads."""
        return self.folder / "server"

    @property
    def operator(self) -> Path:
        """Folder of everything that an operator needs."""
        return self.folder / "operator"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.server / "server.pem"

    @property
    def certificate_key(self) -> Path:
        """The server's private key."""
        return self.server / "server.key"

    @property
    def operator_key(self) -> Path:
        """The operator's key, for whoever may start runs."""
        return self.operator / "operator.key"

    @property
    def operator_key_hash(self) -> Path:
        """SHA-256 of the operator's key, for the server."""
        return self.server / "operator.sha256"

    @property
    def statement_key(self) -> Path:
        """The private key that signs privacy statements, unless a KMS key does."""
        return self.server / "statement.key"

    @property
    def auditor(self) -> Path:
        """Folder of the public keys that check privacy statements."""
        return self.folder / "auditor"

    @property
    def statement_public_key(self) -> Path:
        """Public half of the key that signs privacy statements."""
        return self.auditor / "hub.pem"

    @property
    def sites(self) -> Path:
        """The allow-list."""
        return self.server / "sites"


def provision_hub(
    folder: Path, names: Iterable[str] = (), now: datetime | None = None, statement_kms_alias: str | None = None
) -> Hub:
    """Make or renew everything of the hub but the sites' keys.

    `statement_kms_alias`: the KMS key that signs privacy statements, made unless it is there; none: a local one.
    `names` are host names or addresses under which sites reach the server, besides localhost. Raises BAD_KEY when a
    key is there that cannot be read as one, OTHER_VERSION for another version's folder.
    """
    moment = now or datetime.now(UTC)
    hub = Hub(folder)
    for part in (folder, hub.authority.parent, hub.server, hub.operator):
        files.make_directory(part, 0o700)
    for part in (hub.sites, hub.auditor, hub.auditor / "sites"):
        files.make_directory(part)
    stamp(hub.authority.parent, "hub")
    authority_key = _ensure_key(hub.authority_key)
    authority = _ensure_authority(hub, authority_key, moment)
    _ensure_server_certificate(hub, authority, authority_key, tuple(dict.fromkeys((*names, *LOCAL_NAMES))), moment)
    files.create(hub.operator_key, f"{secrets.token_urlsafe(32)}\n".encode())
    files.replace(hub.operator_key_hash, f"{sha256_hex(hub.operator_key.read_text().strip().encode())}\n".encode())
    if statement_kms_alias is None:
        public = statement_key.ensure_local_key(hub.statement_key)
    else:
        public = statement_key.ensure_kms_key(statement_kms_alias)
    statement_key.hand_out(public, hub.statement_public_key)
    for registered in hub.sites.glob("*.pem"):
        statement_key.hand_out(registered.read_bytes(), hub.auditor / "sites" / registered.name)
    for part in (hub.server, hub.operator):
        hand_out_authority(hub, part)
    return hub


def hand_out_authority(hub: Hub, folder: Path) -> None:
    """Copy the authority's certificate, which is public, to `folder`; an older copy is replaced."""
    files.replace(folder / AUTHORITY_FILE, hub.authority.read_bytes())


def provision_site(hub: Hub, site: str, private_key: Path) -> None:
    """Make a site's node key at `private_key` unless it is there, and put its public half on the allow-list.

    Raises BAD_SETTING for a name that no site may have, BAD_KEY when another key is registered under the name:
    replacing it would hand the site's place to someone else.
    """
    if not _SITE.fullmatch(site) or site == GLOBAL:
        raise FedprivError(
            ErrorCode.BAD_SETTING,
            f"{site!r} cannot be a site's name.",
            f"Use lower-case letters, digits and hyphens, at most 63, and not {GLOBAL!r}.",
        )
    files.make_directory(private_key.parent, 0o700)
    public = (
        _ensure_key(private_key)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    registered = hub.sites / f"{site}.pem"
    if not files.create(registered, public, files.PUBLIC) and registered.read_bytes().strip() != public.strip():
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{registered} holds another key than {private_key}.",
            "If the site's key was replaced on purpose, remove the old public key and run again.",
        )
    statement_key.hand_out(public, hub.auditor / "sites" / registered.name)


def _ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key at `path`, made now if there is none. P-256: a signature per request is seven times cheaper."""
    fresh = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.create(path, fresh)
    if path.stat().st_mode & 0o077:
        path.chmod(files.PRIVATE)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{path} is not a P-256 private key in PEM form.",
            "Restore it from a copy, or move it away to have a new one made.",
        )
    return key


def _ensure_authority(hub: Hub, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    existing = _read_certificate(hub.authority)
    if existing is not None and existing.public_key() == key.public_key() and _fresh(existing, now):
        return existing
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedpriv hub authority")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    files.replace(hub.authority, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def _ensure_server_certificate(
    hub: Hub,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: tuple[str, ...],
    now: datetime,
) -> None:
    key = _ensure_key(hub.certificate_key)
    alternative_names = x509.SubjectAlternativeName([_general_name(name) for name in names])
    existing = _read_certificate(hub.certificate)
    if (
        existing is not None
        and existing.public_key() == key.public_key()
        and _fresh(existing, now)
        and _issued_by(existing, authority)
        and existing.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == alternative_names
    ):
        return
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedpriv server")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _builder(subject, authority.subject, key.public_key(), now, SERVER_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(alternative_names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    files.replace(hub.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
    )


def _read_certificate(path: Path) -> x509.Certificate | None:
    """The certificate at `path`; None when there is none, or none that can be read: it holds no secret, so make it."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _fresh(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise FedprivError(
            ErrorCode.BAD_SETTING, f"{name!r} is neither a host name nor an address.", "Name the server in ASCII."
        ) from None
