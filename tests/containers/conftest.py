"""The stack that most tests share. It is up before the first and gone, volumes and all, after the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Three sites, and the first run finished."""
    stack = Stack("fedpriv-test")
    stack.down("--volumes", "--remove-orphans")
    try:
        stack.up()
        yield stack
    finally:
        stack.down("--volumes")
