"""Fixtures that every test may use. The emulator starts once, with the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One S3 and KMS for the whole session. A test that stops it must start one of its own instead."""
    emulator = Emulator(tmp_path_factory.mktemp("aws"))
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture
def aws_endpoint(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The emulator's address; boto3 in this process and its children speak to it while the test runs."""
    for key, value in emulator.environment.items():
        monkeypatch.setenv(key, value)
    return emulator.endpoint


@pytest.fixture
def object_store(emulator: Emulator, aws_endpoint: str) -> ObjectStore:
    """A fresh bucket with a customer key of its own."""
    return emulator.store()


@pytest.fixture(scope="session")
def ledger_bucket(emulator: Emulator) -> ObjectStore:
    """One bucket for all ledgers; each has a prefix of its own."""
    return emulator.store()
