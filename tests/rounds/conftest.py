"""What servers of these tests write to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator


@pytest.fixture(scope="module")
def store(emulator: Emulator) -> Iterator[ObjectStore]:
    with pytest.MonkeyPatch.context() as environment:
        for key, value in emulator.environment.items():
            environment.setenv(key, value)
        yield emulator.store()
