"""What a server refuses to start with, in one line each; and what its programs do not load."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fedpriv_common.errors import EXIT_STATUS, ErrorCode, FedprivError
from fedpriv_server.credentials import make_tls_context, read_allow_list, read_key_hashes
from fedpriv_server.provision.pki import Hub, provision_hub, provision_site
from tests.emulator import free_port

SERVER = str(Path(sys.executable).parent / "fedpriv-server")
FEDPRIV = str(Path(sys.executable).parent / "fedpriv")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    folder = tmp_path_factory.mktemp("hub")
    hub = provision_hub(folder / "hub")
    provision_site(hub, "site-1", folder / "site-1.key")
    return hub


def start(hub: Hub, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Start a server that cannot start; its end."""
    settings = {
        "PORT": str(free_port()),
        "TLS_CERT": str(hub.certificate),
        "TLS_KEY": str(hub.certificate_key),
        "SITES_DIR": str(hub.sites),
        "OPERATOR_KEY_HASH": str(hub.operator_key_hash),
        "BUCKET": "bucket",
        "KMS_KEY_ID": "key",
        "STATEMENT_KEY": str(hub.statement_key),
        "STATE_DIR": str(folder / "state"),
        "PROMETHEUS_PORT": "0",
        **changes,
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FEDPRIV_")}
    environment |= {f"FEDPRIV_{key}": value for key, value in settings.items() if value != "-"}
    return subprocess.run([SERVER], env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "changes, code, words",
    [
        ({"BUCKET": "-"}, ErrorCode.BAD_SETTING, "FEDPRIV_BUCKET: Field required"),
        ({"PORT": "http"}, ErrorCode.BAD_SETTING, "FEDPRIV_PORT"),
        ({"HOST": "203.0.113.9"}, ErrorCode.BAD_SETTING, "cannot listen on 203.0.113.9"),
        ({"SITES_DIR": "/nowhere"}, ErrorCode.BAD_SETTING, "/nowhere is not a folder"),
        ({"OPERATOR_KEY_HASH": "/nowhere"}, ErrorCode.BAD_KEY, "/nowhere"),
        ({"OPERATOR_KEY_HASH": __file__}, ErrorCode.BAD_KEY, "does not hold a SHA-256"),
        ({"TLS_KEY": __file__}, ErrorCode.BAD_KEY, "are not a certificate and its key"),
        ({"CONTRACT": "/nowhere.yaml"}, ErrorCode.BAD_CONTRACT, "/nowhere.yaml"),
        ({"VALIDATION": "/nowhere.csv"}, ErrorCode.DATA_FORMAT, "/nowhere.csv"),
        ({"STATEMENT_KEY": "-"}, ErrorCode.BAD_SETTING, "FEDPRIV_STATEMENT_KEY: Field required"),
        ({"STATEMENT_KEY": __file__}, ErrorCode.BAD_KEY, "is no Ed25519 private key"),
        ({"STATE_DIR": f"{__file__}/state"}, ErrorCode.BAD_SETTING, "FEDPRIV_STATE_DIR"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_code(
    hub: Hub, tmp_path: Path, changes: dict[str, str], code: ErrorCode, words: str
) -> None:
    ended = start(hub, tmp_path, **changes)
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert ended.returncode == EXIT_STATUS[code], ended.stderr
    assert len(lines) == 1
    assert lines[0].startswith(f"{code}: ")
    assert words in lines[0]


@pytest.mark.parametrize("name", ["PORT", "PROMETHEUS_PORT"])
def test_a_port_that_is_in_use_is_one_line_that_names_it(hub: Hub, tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = start(hub, tmp_path, **{name: port})
    assert ended.returncode == EXIT_STATUS[ErrorCode.PORT_IN_USE], ended.stderr
    (line,) = ended.stderr.splitlines()
    assert port in line
    assert f"FEDPRIV_{name}" in line


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_the_allow_list_is_one_p256_key_per_site_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.pem").write_bytes(public(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "README").write_text("not a key")
    assert list(read_allow_list(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("global.pem", public(ec.generate_private_key(ec.SECP256R1())), "global"),
        ("Site.pem", public(ec.generate_private_key(ec.SECP256R1())), "does not carry the name of a site"),
        ("a.pem", public(ec.generate_private_key(ec.SECP384R1())), "not a P-256 public key"),
        ("a.pem", public(rsa.generate_private_key(65537, 2048)), "not a P-256 public key"),
        ("a.pem", b"nothing", "not a P-256 public key"),
    ],
)
def test_the_allow_list_names_the_file_that_is_wrong(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FedprivError) as refused:
        read_allow_list(tmp_path)
    assert words in str(refused.value)
    assert name in str(refused.value)


def test_two_sites_cannot_have_one_key(tmp_path: Path) -> None:
    key = public(ec.generate_private_key(ec.SECP256R1()))
    for name in ("a", "b"):
        (tmp_path / f"{name}.pem").write_bytes(key)
    with pytest.raises(FedprivError, match="holds the key of a"):
        read_allow_list(tmp_path)


def test_a_key_hash_may_end_with_a_line_end_and_be_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "hash").write_text("AB" * 32 + "\n")
    assert read_key_hashes(tmp_path / "hash") == ("ab" * 32,)


def test_nothing_older_than_tls_1_2_is_spoken(hub: Hub) -> None:
    assert make_tls_context(hub.certificate, hub.certificate_key).minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(hub: Hub, tmp_path: Path) -> None:
    key = load_pem_private_key(hub.certificate_key.read_bytes(), None)
    hidden = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "key.pem").write_bytes(hidden)
    code = (
        "import sys, pathlib; from fedpriv_server.credentials import make_tls_context as make;"
        "make(*map(pathlib.Path, sys.argv[1:]))"
    )
    child, terminal = pty.fork()
    if child == 0:
        arguments = [sys.executable, "-c", code, str(hub.certificate), str(tmp_path / "key.pem")]
        os.execv(sys.executable, arguments)  # noqa: S606 - a shell is not wanted
    os.write(terminal, b"wrong\n")
    said = b""
    with contextlib.suppress(OSError):  # how a terminal tells that its last process has ended
        while part := os.read(terminal, 4096):
            said += part
    os.waitpid(child, 0)
    assert b"pass phrase" not in said
    assert b"BAD_KEY" in said


def loaded(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}; import sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_server_holds_no_torch() -> None:
    modules = loaded("import fedpriv_server.main, fedpriv_server.server")
    assert "flwr" in modules
    assert not modules & {"torch", "opacus", "sklearn", "fedpriv_client", "fedpriv_metrics"}


def test_the_command_line_loads_nothing_heavy_before_it_must() -> None:
    heavy = {"flwr", "torch", "boto3", "numpy", "fastapi", "dp_accounting", "pydantic"}
    assert not loaded("import fedpriv_server.cli") & heavy
    assert not loaded("import fedpriv_server.operator_client") & {
        "flwr",
        "torch",
        "fastapi",
        "uvicorn",
        "dp_accounting",
    }


def test_help_lists_the_operators_commands() -> None:
    shown = subprocess.run([FEDPRIV, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(command in shown for command in ("run ", "runs ", "cancel "))
