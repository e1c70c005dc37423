"""What a person may choose about the demo, and where it keeps its things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedpriv_common.settings import ServiceSettings
from fedpriv_server.provision.pki import Hub

#: The checkout that this package belongs to.
ROOT = Path(__file__).resolve().parents[2]

SITES = ("site-1", "site-2", "site-3")
HOST = "127.0.0.1"
CONTRACT = "breast-cancer-wisconsin"
BUCKET = "fedpriv-metrics"
KMS_ALIAS = "alias/fedpriv"
REGION = "us-east-1"


class DemoSettings(ServiceSettings):
    """`FEDPRIV_DEMO_PORT_BASE` and `FEDPRIV_DEMO_DIR`: a second checkout, or a test, runs beside the first."""

    demo_port_base: Annotated[
        int | None, Field(ge=1024, le=65_500, description="first of nine ports in a row; none: the documented ones")
    ] = None
    demo_dir: Path = ROOT / "var"


@dataclass(frozen=True)
class Ports:
    """Every port of the demo; all on loopback."""

    server: int = 8080
    api: int = 8000
    dashboard: int = 3000
    aws: int = 4566
    server_prometheus: int = 9464
    api_prometheus: int = 9465
    site_prometheus: tuple[int, ...] = (9466, 9467, 9468)

    @classmethod
    def starting_at(cls, base: int | None) -> Ports:
        """Nine ports in a row from `base`, or the documented ones."""
        if base is None:
            return cls()
        return cls(base, base + 1, base + 2, base + 3, base + 4, base + 5, (base + 6, base + 7, base + 8))

    def by_use(self) -> dict[str, int]:
        """Each port, by what uses it."""
        uses = {
            "the server": self.server,
            "the metrics API": self.api,
            "the dashboard": self.dashboard,
            "the AWS emulator": self.aws,
            "the server's Prometheus figures": self.server_prometheus,
            "the metrics API's Prometheus figures": self.api_prometheus,
        }
        return uses | {
            f"the Prometheus figures of {site}": port for site, port in zip(SITES, self.site_prometheus, strict=True)
        }


@dataclass(frozen=True)
class Places:
    """Files of the demo. All but `work` outlives a demo; ledgers above all."""

    root: Path

    @property
    def hub(self) -> Hub:
        """Keys and certificates of the hub."""
        return Hub(self.root / "hub")

    @property
    def records(self) -> Path:
        """The table that the three sites share out by keyed hash."""
        return self.root / "data" / "records.csv"

    @property
    def validation(self) -> Path:
        """The public validation set, at the server and at no site."""
        return self.root / "data" / "public-validation.csv"

    @property
    def site_key(self) -> Path:
        """The secret that decides which record is whose."""
        return self.root / "sites" / "partition.key"

    def node_key(self, site: str) -> Path:
        """A site's private node key."""
        return self.root / "sites" / site / "node.key"

    def ledger(self, site: str) -> Path:
        """A site's privacy ledger."""
        return self.root / "sites" / site / "ledger.sqlite"

    def marker(self, site: str) -> Path:
        """The sign, kept apart from the ledger, that there must be one."""
        return self.root / "markers" / f"{site}.json"

    @property
    def audit(self) -> Path:
        """What `make audit` found, if it was run."""
        return self.results / "audit.json"

    def state(self, service: str) -> Path:
        """A process's own folder."""
        return self.root / "state" / service

    @property
    def aws(self) -> Path:
        """What the AWS emulator keeps."""
        return self.root / "aws"

    def object(self, bucket: str, key: str) -> Path:
        """Where the emulator keeps an object, or the folder of a prefix."""
        return self.aws / "s3" / "000000000000" / bucket / key

    @property
    def work(self) -> Path:
        """Configuration and logs of the demo that runs now."""
        return self.root / "demo"

    @property
    def lock(self) -> Path:
        """Held by the demo that runs now."""
        return self.work / "lock"

    def log(self, program: str) -> Path:
        """What a program printed."""
        return self.work / "logs" / f"{program}.log"

    @property
    def results(self) -> Path:
        """Results for machines."""
        return self.root / "results"
