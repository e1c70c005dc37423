"""What tests of the page share: one browser, and one consortium to look at, for each worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.emulator import Emulator
from tests.page.consortium import Consortium, showing
from tests.page.visits import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium. Each visit is a context of its own, so nothing is carried over."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def consortium(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Runs in every state, an API and a page. Only to look at: a test that ends a process starts its own."""
    with showing(emulator, tmp_path_factory.mktemp("consortium")) as shown:
        yield shown
