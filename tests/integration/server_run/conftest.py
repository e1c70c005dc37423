"""The server, its bucket and its three light sites."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fedpriv_client.data.breast_cancer import write_files
from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.server_harness import LightSite, Server, running, three_sites


@pytest.fixture(scope="package")
def store(emulator: Emulator) -> Iterator[ObjectStore]:
    with pytest.MonkeyPatch.context() as environment:
        for key, value in emulator.environment.items():
            environment.setenv(key, value)
        yield emulator.store()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, store: ObjectStore) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    write_files(folder)
    with running(Server(folder, store, {"FEDPRIV_VALIDATION": str(folder / "public-validation.csv")})) as server:
        yield server


@pytest.fixture(scope="package")
def all_sites(server: Server) -> Iterator[dict[str, LightSite]]:
    with three_sites(server) as sites:
        yield sites


@pytest.fixture
def sites(all_sites: dict[str, LightSite]) -> Iterator[dict[str, LightSite]]:
    """The three sites, behaving."""
    yield all_sites
    for site in all_sites.values():
        site.behave = lambda _: None
