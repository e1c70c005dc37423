"""The demo's programs: their commands, environments and the order in which they end."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from fedpriv_client.own_code import load_own_audit
from fedpriv_common.errors import FedprivError
from scripts.demo.preflight import EMULATOR, VITE
from scripts.demo.settings import BUCKET, CONTRACT, HOST, REGION, ROOT, SITES, Places, Ports

EMULATOR_NAME = "aws-emulator"
#: Both need the KMS key's name to start, and learn another one when the emulator has lost it.
STORING = ("server", "metrics-api")


@dataclass(frozen=True)
class Program:
    """One child process. Higher `order` ends first: sites say goodbye to the server, and all may still store."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    order: int
    group: str | None = None


def emulator(places: Places, ports: Ports) -> Program:
    """MiniStack with the two services that the product uses, on loopback, keeping its state."""
    (places.aws / "tmp").mkdir(parents=True, exist_ok=True)
    environment = base_environment() | {
        "GATEWAY_PORT": str(ports.aws),
        "BIND_HOST": HOST,
        "SERVICES": "s3,kms",
        "IOT_MTLS_ENABLED": "0",  # it would listen on every interface
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(places.aws / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(places.aws / "s3"),
        "TMPDIR": str(places.aws / "tmp"),
    }
    return Program(EMULATOR_NAME, (str(EMULATOR),), environment, order=1)


def server(places: Places, ports: Ports, kms_key: str) -> Program:
    """SuperLink behind its gate, over TLS, open to the sites of the allow-list."""
    environment = aws_environment(ports) | {
        "FEDPRIV_HOST": HOST,
        "FEDPRIV_PORT": str(ports.server),
        "FEDPRIV_TLS_CERT": str(places.hub.certificate),
        "FEDPRIV_TLS_KEY": str(places.hub.certificate_key),
        "FEDPRIV_SITES_DIR": str(places.hub.sites),
        "FEDPRIV_OPERATOR_KEY_HASH": str(places.hub.operator_key_hash),
        "FEDPRIV_BUCKET": BUCKET,
        "FEDPRIV_KMS_KEY_ID": kms_key,
        "FEDPRIV_STATEMENT_KEY": str(places.hub.statement_key),
        "FEDPRIV_STATE_DIR": str(places.state("server")),
        "FEDPRIV_CONTRACT": CONTRACT,
        "FEDPRIV_VALIDATION": str(places.validation),
        "FEDPRIV_PROMETHEUS_PORT": str(ports.server_prometheus),
    }
    return Program("server", (_beside_python("fedpriv-server"),), environment, order=3)


def metrics_api(places: Places, ports: Ports, kms_key: str) -> Program:
    """The reader of the bucket."""
    environment = aws_environment(ports) | {
        "FEDPRIV_HOST": HOST,
        "FEDPRIV_PORT": str(ports.api),
        "FEDPRIV_BUCKET": BUCKET,
        "FEDPRIV_KMS_KEY_ID": kms_key,
        "FEDPRIV_AUDITOR_KEYS": str(places.hub.auditor),
        "FEDPRIV_PROMETHEUS_PORT": str(ports.api_prometheus),
    }
    return Program("metrics-api", (_beside_python("fedpriv-metrics"),), environment, order=2)


def dashboard(ports: Ports) -> Program:
    """The built page."""
    environment = base_environment() | {"FEDPRIV_API_URL": f"http://{HOST}:{ports.api}"}
    node = shutil.which("node") or "node"
    command = (node, str(VITE), "preview", str(ROOT / "dashboard"))
    address = ("--host", HOST, "--port", str(ports.dashboard), "--strictPort")
    return Program("dashboard", command + address, environment, order=5)


def site(places: Places, ports: Ports, number: int) -> Program:
    """Site `number` (from 0) of three, holding its own partition, key and ledger; no AWS rights."""
    name = SITES[number]
    environment = base_environment() | {
        "FEDPRIV_SITE": name,
        "FEDPRIV_SERVER": f"{HOST}:{ports.server}",
        "FEDPRIV_CA": str(places.hub.authority),
        "FEDPRIV_NODE_KEY": str(places.node_key(name)),
        "FEDPRIV_CONTRACT": CONTRACT,
        "FEDPRIV_DATA": str(places.records),
        "FEDPRIV_LEDGER": str(places.ledger(name)),
        "FEDPRIV_LEDGER_MARKER": str(places.marker(name)),
        "FEDPRIV_SITE_KEY": str(places.site_key),
        "FEDPRIV_PARTITION": str(number),
        "FEDPRIV_PARTITIONS": str(len(SITES)),
        "FEDPRIV_STATE_DIR": str(places.state(name)),
        "FEDPRIV_PROMETHEUS_PORT": str(ports.site_prometheus[number]),
        # Three sites share this machine's cores: one thread each loses nothing on 31 parameters.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    if _audited(places.audit):
        environment["FEDPRIV_AUDIT"] = str(places.audit)
    return Program(name, (_beside_python("fedpriv-site"),), environment, order=4, group="sites")


def _audited(audit: Path) -> bool:
    """Whether there is an audit of this very code: a site does not start with one of other code."""
    try:
        load_own_audit(audit)
    except FedprivError:
        return False
    return True


def base_environment() -> dict[str, str]:
    """This process's environment without what would steer a program elsewhere: a person's own AWS account, say."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "FEDPRIV_"))}
    beyond = [entry for name in ("NO_PROXY", "no_proxy") for entry in [kept.pop(name, "")] if entry]
    no_proxy = ",".join((*beyond, HOST, "localhost"))
    return kept | {"NO_PROXY": no_proxy, "no_proxy": no_proxy, "PYTHONUNBUFFERED": "1"}


def aws_environment(ports: Ports) -> dict[str, str]:
    """The environment of a program that stores: AWS is the emulator, and nothing else."""
    return base_environment() | emulated_aws(ports)


def emulated_aws(ports: Ports) -> dict[str, str]:
    """What makes boto3 speak to the emulator. The credentials are none: it does not check them."""
    return {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{ports.aws}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _beside_python(script: str) -> str:
    return str(Path(sys.executable).parent / script)
