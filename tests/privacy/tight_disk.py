"""A ledger on a file system of its own that fills up and turns read-only. Run with the right to mount:

    unshare --map-root-user --mount python -m tests.privacy.tight_disk FOLDER

Prints one line of JSON: what came of each step.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedpriv_client.privacy.ledger.ledger import Ledger, Replay, Reserved
from fedpriv_common.errors import FedprivError, RefusalError
from fedpriv_common.plan import Phase
from tests.unit.client.ledgers import OnDisk, admit

WHERE = ("A", 1, Phase.TRAIN, "q")


def mount(folder: Path, *options: str) -> None:
    subprocess.run(("mount", *options, str(folder)), check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Not one byte is free."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        filler.unlink()


def came_to(step: Callable[[], object]) -> str:
    try:
        result = step()
    except (RefusalError, FedprivError) as error:
        return str(error.refusal if isinstance(error, RefusalError) else error.code)
    return type(result).__name__ if isinstance(result, Ledger | Reserved | Replay) else repr(result)


def main(folder: Path) -> None:
    mount(folder, "-t", "tmpfs", "-o", "size=512k", "tmpfs")
    place = OnDisk(folder)
    with filled(folder):
        begun_on_a_full_disk = came_to(place.begin)
    ledger = place.begin()
    steps = {
        "admit": lambda: admit(ledger),
        "reserve": lambda: ledger.reserve(*WHERE),
        "commit": lambda: ledger.commit(*WHERE, b"bytes"),
    }
    results: dict[str, object] = {"begin": [begun_on_a_full_disk, came_to(place.open)]}
    for name, step in steps.items():
        with filled(folder):
            full = [came_to(step), came_to(step)]
        results[name] = [*full, came_to(step), came_to(step)]
    with filled(folder):
        results["replay on a full disk"] = came_to(steps["reserve"])
        results["opened on a full disk"] = came_to(place.open)
    ledger._store.close()
    gc.collect()  # every connection is closed, as a file that is open for writing keeps a disk writable
    with filled(folder):
        results["started on a full disk"] = came_to(place.open)
    gc.collect()
    mount(folder, "-o", "remount,ro")
    results["opened read-only"] = came_to(place.open)
    mount(folder, "-o", "remount,rw")
    ledger = place.open()
    results["writable again"] = came_to(lambda: ledger.reserve("A", 2, Phase.TRAIN, "r"))
    results["entries"] = [line["state"] for line in ledger.export()]
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
