"""A real server process, as attackers, broken clients and people with new keys meet it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from fedpriv_client.fleet import Fleet, read_authority, read_node_key
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_server.operator_client import OperatorClient
from fedpriv_server.provision.pki import provision_hub, provision_site
from tests.integration.server_harness import SITES, Server, running_without_s3
from tests.waiting import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose bucket is away: none of this depends on it."""
    with running_without_s3(tmp_path_factory.mktemp("server"), {"FEDPRIV_RELOAD_SECONDS": "0.2"}) as server:
        yield server


def connect(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", server.port), 10)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def trusting(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.hub.authority))


def say(server: Server, data: bytes) -> bytes:
    """What the server answers to these bytes before it closes, or for a second."""
    with connect(server, trusting(server)) as connection:
        connection.sendall(data)
        connection.settimeout(1.0)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except TimeoutError:
            pass
        return received


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is_spoken_with_forward_secrecy(server: Server, version: ssl.TLSVersion) -> None:
    context = trusting(server)
    context.minimum_version = context.maximum_version = version
    with connect(server, context) as connection:
        name, *_ = connection.cipher() or ("",)
    assert name.startswith(("TLS_", "ECDHE-")), name


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_tls_is_not_spoken(server: Server, version: ssl.TLSVersion) -> None:
    context = trusting(server)
    context.set_ciphers("ALL:@SECLEVEL=0")  # without it, this side would not even try
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(server, context)


def test_weak_ciphers_are_not_spoken(server: Server) -> None:
    context = trusting(server)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(server, context)


def test_nothing_is_answered_without_tls(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            answer = plain.recv(1000)
        except ConnectionError:
            answer = b""
    assert b"HTTP/" not in answer


def test_a_site_does_not_talk_to_a_server_of_another_authority(server: Server, tmp_path: Path) -> None:
    other = provision_hub(tmp_path / "other")
    fleet = Fleet(
        f"https://127.0.0.1:{server.port}", read_authority(other.authority), read_node_key(server.node_key(SITES[0]))
    )
    with pytest.raises(FedprivError) as refused:
        fleet.activate(None)
    assert refused.value.code is ErrorCode.SERVER_CERTIFICATE


def serial(server: Server) -> int:
    with connect(server, trusting(server)) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_damaged_one_never(server: Server) -> None:
    before, whole = serial(server), server.hub.certificate.read_bytes()
    server.hub.certificate.write_bytes(whole[:100])
    until(lambda: "certificate_kept" in server.log, "the damaged certificate is told")
    assert serial(server) == before
    server.hub.certificate.write_bytes(whole)
    provision_hub(server.hub.folder, names=("fedpriv.example",))
    until(lambda: serial(server) != before, "the new certificate is shown")


# -- HTTP --------------------------------------------------------------------------------------------------------------


def test_a_request_with_two_lengths_is_no_request(server: Server) -> None:
    smuggled = b"GET /v1/control/list-runs HTTP/1.1\r\nHost: x\r\n\r\n"
    both = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s"
    answer = say(server, both % (len(smuggled) + 5, smuggled))
    assert answer.startswith(b"HTTP/1.1 400"), answer[:100]
    assert answer.count(b"HTTP/1.1") == 1
    twice = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    assert say(server, twice).startswith(b"HTTP/1.1 400")


def test_requests_in_a_row_are_each_answered_in_order(server: Server) -> None:
    answer = say(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    assert answer.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("target", [b"https://x/health", b"/health"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_other_forms_of_a_request_are_understood(server: Server, target: bytes, version: bytes) -> None:
    assert b" 200 " in say(server, b"GET %s HTTP/%s\r\nHost: x\r\n\r\n" % (target, version))[:20]


def test_a_head_that_is_too_large_is_given_up(server: Server) -> None:
    answer = say(server, b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-Filler: " + b"x" * 40_000 + b"\r\n\r\n")
    assert b" 200 " not in answer[:20]


# -- keys --------------------------------------------------------------------------------------------------------------


def fleet(server: Server, key: Path) -> Fleet:
    return Fleet(f"https://127.0.0.1:{server.port}", read_authority(server.hub.authority), read_node_key(key))


def refused(one: Fleet) -> bool:
    try:
        one.heartbeat()
    except FedprivError as error:
        return error.code is ErrorCode.NODE_UNKNOWN
    return False


def test_a_site_is_revoked_and_gets_another_key_while_the_server_runs(server: Server, tmp_path: Path) -> None:
    registered = server.hub.sites / f"{SITES[1]}.pem"
    old = fleet(server, server.node_key(SITES[1]))
    old.activate(None)
    key = registered.read_bytes()
    registered.unlink()
    until(lambda: refused(old), "the key is refused")
    auditors = server.hub.auditor / "sites" / registered.name  # who need it for what it has signed
    auditors.rename(auditors.with_suffix(".former"))
    provision_site(server.hub, SITES[1], tmp_path / "new.key")
    assert registered.read_bytes() != key
    until(lambda: "allow_list_kept" in server.log, "S3 is away: what is known of its ledger cannot be read")
    assert refused(old)


def test_a_rotated_key_is_in_force_at_once_and_needs_no_bucket(server: Server, tmp_path: Path) -> None:
    registered = server.hub.sites / f"{SITES[2]}.pem"
    old = fleet(server, server.node_key(SITES[2]))
    first = old.activate(None)
    other = provision_hub(tmp_path / "elsewhere")
    provision_site(other, SITES[2], tmp_path / "new.key")
    fresh = (other.sites / registered.name).read_bytes()
    registered.with_suffix(".new").write_bytes(fresh)
    registered.with_suffix(".new").replace(registered)
    until(lambda: refused(old), "the old key is refused")
    new = fleet(server, tmp_path / "new.key")
    assert new.activate(None) != first
    new.heartbeat()
    assert '"site_rotated"' in server.log


def test_an_operator_key_is_replaced_while_the_server_runs(server: Server) -> None:
    def works(key: str) -> bool:
        try:
            OperatorClient(f"https://127.0.0.1:{server.port}", key, server.hub.authority).runs()
        except FedprivError as error:
            return error.code is ErrorCode.STORE_UNAVAILABLE
        return True

    before = server.hub.operator_key.read_text().strip()
    old, new = sha256_hex(before.encode()), sha256_hex(b"another")
    server.hub.operator_key_hash.write_text(f"{old}\n{new}\n")
    until(lambda: server.log.count("operator_keys_changed") == 1, "both keys are valid")
    assert works("another")
    assert works(before)
    server.hub.operator_key_hash.write_text(f"{new}\n")
    until(lambda: server.log.count("operator_keys_changed") == 2, "the new key is valid alone")
    assert works("another")
    assert not works(before)
