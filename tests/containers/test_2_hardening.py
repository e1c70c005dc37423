"""What a container may and may not do, and what its image does not hold."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.containers.stack import SERVICES, Stack, docker

JOBS = ("init", "init-sites", "run")
OWN = (*SERVICES, *JOBS)
STATUS = "while read -r line; do echo $line; done </proc/1/status"


@pytest.mark.parametrize("service", (*OWN, "aws"))
def test_the_engine_was_told_to_hold_it_tight(stack: Stack, service: str) -> None:
    found = stack.inspect(stack.container(service))
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == ("no" if service in JOBS else "unless-stopped")
    assert service in JOBS or found["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize("service", SERVICES)
def test_its_process_has_no_rights(stack: Stack, service: str) -> None:
    container = stack.container(service)
    status = dict(re.findall(r"^(\w+):\s*(.*)$", docker("exec", container, "sh", "-c", STATUS), re.M))
    assert int(status["Uid"].split()[0]) == (101 if service == "dashboard" else 10001)
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("path", ["/written", "/usr/bin/written", "/etc/written", "/opt/written"])
def test_its_root_cannot_be_written(stack: Stack, service: str, path: str) -> None:
    assert docker("exec", stack.container(service), "sh", "-c", f"echo x 2>/dev/null >{path} || echo no") == "no\n"


@pytest.mark.parametrize("service", ["server", "client"])
def test_its_secrets_cannot_be_written(stack: Stack, service: str) -> None:
    code = "import os; print(os.access('/run/fedpriv/ca.pem', os.R_OK), os.access('/run/fedpriv', os.W_OK))"
    assert stack.python(stack.container(service), code) == "True False"


@pytest.mark.parametrize("service", ["server", "client", "aws"])
def test_there_is_no_way_out_of_the_internal_network(stack: Stack, service: str) -> None:
    """The addresses belong to nobody: what matters is that no packet is sent on."""
    code = (
        "import socket\n"
        "for address in ('192.0.2.1', '198.51.100.1'):\n"
        "    with socket.socket() as s:\n"
        "        s.settimeout(3)\n"
        "        print(s.connect_ex((address, 443)))\n"
    )
    unreachable = {"101", "113"}
    assert set(stack.python(stack.container(service), code).split()) <= unreachable
    gateways = "print([l.split()[2] for l in open('/proc/net/route') if l.split()[1] == '00000000'])"
    assert stack.python(stack.container(service), gateways) == "[]"


def test_only_the_page_and_the_api_are_published_and_only_on_this_machine(stack: Stack) -> None:
    published = {}
    for service in (*SERVICES, "aws"):
        ports = stack.inspect(stack.container(service))["NetworkSettings"]["Ports"]
        bindings = [binding for port in ports.values() for binding in port or ()]
        if bindings:
            published[service] = {binding["HostIp"] for binding in bindings}
    assert published == {"metrics-api": {"127.0.0.1"}, "dashboard": {"127.0.0.1"}}


@pytest.mark.parametrize("service", OWN)
def test_no_secret_is_in_its_environment(stack: Stack, service: str) -> None:
    environment = dict(entry.split("=", 1) for entry in stack.inspect(stack.container(service))["Config"]["Env"])
    for name, value in environment.items():
        assert not re.search(r"[0-9a-fA-F]{32}|-----BEGIN|[A-Za-z0-9_-]{43}", value), name
        if re.search("SECRET|TOKEN|PASSWORD", name):
            assert value == "local", name  # what boto3 signs with for an emulator that checks nothing


def test_who_may_read_which_secret(stack: Stack) -> None:
    """A volume holds what its service may read and nothing more."""
    mounts = {
        service: {
            mount["Name"].removeprefix(f"{stack.project}_"): mount["RW"]
            for mount in stack.inspect(stack.container(service))["Mounts"]
            if mount["Type"] == "volume"
        }
        for service in (*SERVICES, "run")
    }
    assert mounts == {
        "server": {"server-keys": False, "public": False, "server-state": True},
        "client": {
            "node-keys": False,
            "site-key": False,
            "records": False,
            "markers": False,
            "ledgers": True,
            "site-state": True,
        },
        "metrics-api": {"auditor-keys": False},
        "dashboard": {},
        "run": {"operator-key": False},
    }
    names = "import os; print(*sorted(os.listdir('/run/fedpriv')))"
    server = stack.python(stack.container("server"), names).split()
    assert server == ["ca.pem", "operator.sha256", "server.key", "server.pem", "sites", "statement.key"]
    client = stack.python(stack.container("client"), names).split()
    assert client == ["ca.pem", *(f"site-{number}.key" for number in range(5))]


# -- images --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SERVICES)
def image(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str], list[str], str]]:
    """A service, every path in any layer of its image, those that hold a private key, and what the image's history and
    configuration say."""
    reference = f"fedpriv/{request.param}"
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        docker("save", "--output", str(archive), reference, timeout=300)
        paths, keys = [], []
        with tarfile.open(archive) as whole:
            (manifest,) = json.load(whole.extractfile("manifest.json"))
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=whole.extractfile(layer)) as files:
                    for member in files:
                        paths.append(f"/{member.name.lstrip('./')}")
                        if member.isfile() and holds_a_key(member.name, files.extractfile(member)):
                            keys.append(paths[-1])
    told = docker("image", "inspect", reference) + docker("history", "--no-trunc", reference)
    yield request.param, paths, keys, told


def holds_a_key(name: str, file: IO[bytes]) -> bool:
    """Whether a file is a private key, or a certificate with one; lists of public authorities are neither."""
    head = file.read(64)
    if not (head.startswith(b"-----BEGIN") or name.endswith((".pem", ".key", ".crt", ".p12"))):
        return False
    return name.endswith(".p12") or b"PRIVATE KEY-----" in head + file.read()


def test_a_private_key_would_be_found() -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert holds_a_key("site-0.key", io.BytesIO(pem))
    assert holds_a_key("named-otherwise", io.BytesIO(pem))
    assert holds_a_key("both.pem", io.BytesIO(b"-----BEGIN CERTIFICATE-----\n" * 9 + pem))
    assert not holds_a_key("roots.pem", io.BytesIO(b"-----BEGIN CERTIFICATE-----\n" * 9))


def test_an_image_says_what_it_is_and_runs_as_nobody(image) -> None:
    service, _, _, _ = image
    config = json.loads(docker("image", "inspect", f"fedpriv/{service}"))[0]["Config"]
    assert config["User"] == ("101:101" if service == "dashboard" else "10001:10001")
    assert config["StopSignal"] == ("SIGQUIT" if service == "dashboard" else "SIGTERM")
    assert config["Healthcheck"]["Test"][0] == "CMD"
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert {"title", "description", "version", "licenses", "revision"} <= labels


def test_no_layer_holds_what_builds_installs_or_tests(image) -> None:
    service, paths, _, _ = image
    programs = {path.rsplit("/", 1)[1] for path in paths if re.match(r"(/usr|/usr/local|/opt/fedpriv)?/s?bin/.", path)}
    own = {"fedpriv", "fedpriv-server", "fedpriv-site", "fedpriv-metrics"}
    assert programs - own <= {"sh", "dash", "python", "python3", "python3.11", "nginx", "curl"}
    foreign = re.compile(
        r"/site-packages/(pip|setuptools|wheel|pytest|mypy|ruff)(/|$)|/(gcc|apt|dpkg|perl5?)(/|$)(?<!/var/lib/dpkg)"
        r"|/\.cache/|/node_modules/|\.egg-info|/tests?/.*\.py$"
    )
    ours_to_list = ("/var/lib/dpkg", "/usr/share/doc/")
    assert not [path for path in paths if foreign.search(path) and not path.startswith(ours_to_list)][:5]
    assert any("/site-packages/torch/" in path for path in paths) == (service == "client")


def test_no_layer_and_no_step_holds_a_secret(image) -> None:
    _, _, keys, told = image
    assert not keys
    assert not re.search(r"-----BEGIN|AWS_SECRET|PASSWORD=|TOKEN=", told)
