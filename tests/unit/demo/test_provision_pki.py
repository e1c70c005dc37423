"""Provisioning makes every key once, keeps it to its owner, and renews certificates from the same keys."""

from __future__ import annotations

import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_server.provision import files
from fedpriv_server.provision.pki import SERVER_LIFETIME, Hub, provision_hub, provision_site


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return provision_hub(tmp_path / "hub", ["server", "10.1.2.3"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_second_call_changes_no_byte(hub: Hub, tmp_path: Path) -> None:
    provision_site(hub, "site-1", tmp_path / "site-1.key")
    before = contents(tmp_path)
    provision_hub(hub.folder, ["server", "10.1.2.3"])
    provision_site(hub, "site-1", tmp_path / "site-1.key")
    assert contents(tmp_path) == before


def test_secrets_are_readable_by_their_owner_only(hub: Hub, tmp_path: Path) -> None:
    provision_site(hub, "site-1", tmp_path / "nodes" / "site-1.key")
    secret = {hub.authority_key, hub.certificate_key, hub.statement_key, hub.operator_key}
    secret.add(tmp_path / "nodes" / "site-1.key")
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in secret} == dict.fromkeys(secret, 0o600)
    assert stat.S_IMODE(hub.folder.stat().st_mode) == 0o700


def test_an_auditor_gets_every_public_key_and_no_other(hub: Hub, tmp_path: Path) -> None:
    provision_site(hub, "site-1", tmp_path / "site-1.key")
    assert sorted(contents(hub.auditor)) == ["hub.pem", "sites/site-1.pem"]
    private = load_pem_private_key(hub.statement_key.read_bytes(), None)
    assert load_pem_public_key(hub.statement_public_key.read_bytes()) == private.public_key()
    assert (hub.auditor / "sites" / "site-1.pem").read_bytes() == (hub.sites / "site-1.pem").read_bytes()
    assert b"PRIVATE" not in b"".join(contents(hub.auditor).values())


def test_a_hub_of_an_earlier_version_gets_what_it_lacks(hub: Hub, tmp_path: Path) -> None:
    provision_site(hub, "site-1", tmp_path / "site-1.key")
    hub.statement_key.unlink()
    shutil.rmtree(hub.auditor)
    provision_hub(hub.folder, ["server", "10.1.2.3"])
    assert hub.statement_key.exists()
    assert sorted(contents(hub.auditor)) == ["hub.pem", "sites/site-1.pem"]


def test_a_statement_key_that_was_replaced_is_told_because_auditors_hold_the_old_one(hub: Hub) -> None:
    hub.statement_key.unlink()
    with pytest.raises(FedprivError, match=r"hub\.pem holds another key") as refused:
        provision_hub(hub.folder, ["server", "10.1.2.3"])
    assert refused.value.code is ErrorCode.BAD_KEY


def test_a_key_that_others_could_read_is_closed_again(hub: Hub) -> None:
    hub.certificate_key.chmod(0o644)
    provision_hub(hub.folder, ["server", "10.1.2.3"])
    assert stat.S_IMODE(hub.certificate_key.stat().st_mode) == 0o600


def test_the_certificate_names_the_server_and_loopback(hub: Hub) -> None:
    names = certificate(hub.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["server", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3", "127.0.0.1"]


def test_openssl_accepts_the_certificate_under_its_authority(hub: Hub) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(hub.certificate, hub.certificate_key)
    client = ssl.create_default_context(cafile=str(hub.authority))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert here.version() is not None
    assert here.getpeercert() != {}


def test_an_expiring_certificate_is_renewed_from_the_same_key(hub: Hub) -> None:
    key, old = hub.certificate_key.read_bytes(), certificate(hub.certificate)
    later = datetime.now(UTC) + SERVER_LIFETIME - timedelta(days=1)
    provision_hub(hub.folder, ["server", "10.1.2.3"], now=later)
    renewed = certificate(hub.certificate)
    assert renewed.serial_number != old.serial_number
    assert renewed.not_valid_after_utc > later
    assert renewed.public_key() == old.public_key()
    assert hub.certificate_key.read_bytes() == key
    renewed.verify_directly_issued_by(certificate(hub.authority))


def test_an_expired_authority_is_renewed_and_old_server_certificates_still_verify_under_it(hub: Hub) -> None:
    old = certificate(hub.certificate)
    provision_hub(hub.folder, ["server", "10.1.2.3"], now=datetime.now(UTC) + timedelta(days=4000))
    old.verify_directly_issued_by(certificate(hub.authority))
    certificate(hub.certificate).verify_directly_issued_by(certificate(hub.authority))


def test_a_new_name_gets_into_the_certificate(hub: Hub) -> None:
    provision_hub(hub.folder, ["hub.example.org"])
    names = certificate(hub.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "hub.example.org" in names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "another curve"])
def test_a_damaged_key_is_refused_and_left_alone(hub: Hub, tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        other = ec.generate_private_key(ec.SECP384R1())
        content = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    hub.authority_key.write_bytes(content)
    with pytest.raises(FedprivError, match=r"ca\.key is not a P-256 private key") as refusal:
        provision_hub(hub.folder)
    assert refusal.value.code is ErrorCode.BAD_KEY
    assert hub.authority_key.read_bytes() == content


def test_the_server_learns_the_operator_key_only_by_its_hash(hub: Hub) -> None:
    key = hub.operator_key.read_text().strip()
    assert len(key) >= 43  # 256 bits
    assert hub.operator_key_hash.read_text().strip() == sha256_hex(key.encode())


def test_a_site_is_on_the_allow_list_with_the_public_half_of_its_key(hub: Hub, tmp_path: Path) -> None:
    provision_site(hub, "site-1", tmp_path / "site-1.key")
    private = load_pem_private_key((tmp_path / "site-1.key").read_bytes(), None)
    assert load_pem_public_key((hub.sites / "site-1.pem").read_bytes()) == private.public_key()
    assert b"PRIVATE" not in (hub.sites / "site-1.pem").read_bytes()


def test_a_registered_key_is_not_replaced_by_another(hub: Hub, tmp_path: Path) -> None:
    provision_site(hub, "site-1", tmp_path / "site-1.key")
    registered = (hub.sites / "site-1.pem").read_bytes()
    with pytest.raises(FedprivError, match="holds another key") as refusal:
        provision_site(hub, "site-1", tmp_path / "impostor.key")
    assert refusal.value.code is ErrorCode.BAD_KEY
    assert (hub.sites / "site-1.pem").read_bytes() == registered


@pytest.mark.parametrize("name", ["", "global", "Site", "a/b", "../site", "-site", "a" * 64, "site\n"])
def test_a_name_no_site_may_have_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    with pytest.raises(FedprivError, match="cannot be a site's name"):
        provision_site(hub, name, tmp_path / "x.key")
    assert not list(hub.sites.iterdir())


def test_create_never_replaces_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    assert files.create(tmp_path / "a", b"first")
    assert not files.create(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_command_makes_hub_and_sites_and_may_be_repeated(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from fedpriv_server.provision.cli import app

    arguments = ["--hub", str(tmp_path / "hub"), "--host", "server", "--node-keys", str(tmp_path / "nodes")]
    arguments += ["--site", "site-1", "--site", "site-2"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    made = contents(tmp_path)
    assert {
        "nodes/site-1.key",
        "nodes/site-2.key",
        "hub/server/sites/site-1.pem",
        "hub/server/sites/site-2.pem",
    } <= set(made)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert contents(tmp_path) == made
    assert "needs --node-keys" in CliRunner().invoke(app, [*arguments[:2], "--site", "site-1"]).output
