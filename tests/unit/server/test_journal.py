"""The journal loses nothing to a disk that takes nothing for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore
from fedpriv_server.archive import Archive
from fedpriv_server.journal import Journal
from fedpriv_server.outbox import Outbox, StoredObject


class Disk:
    """An outbox whose folder can be taken away."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._away = folder / "outbox", folder / "away"
        self.outbox = Outbox(self._folder)
        # Nothing here gets as far as the bucket.
        self.archive = Archive(ObjectStore(None, "nowhere", ""), self.outbox, disk_patience_s=0.0)

    def fill(self) -> None:
        self._folder.rename(self._away)

    def free(self) -> None:
        self._away.rename(self._folder)

    @property
    def keys(self) -> list[str]:
        return [entry.key for entry in self.outbox.objects()]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


async def refused(journal: Journal) -> None:
    with pytest.raises(FedprivError) as full:
        await journal.settled()
    assert full.value.code is ErrorCode.DISK_FULL


def test_what_a_full_disk_did_not_take_goes_with_the_next_bundle(disk: Disk) -> None:
    async def play() -> None:
        journal = Journal(disk.archive)
        disk.fill()
        journal.write([StoredObject("round", b"1")])
        await refused(journal)
        journal.write([StoredObject("decision", b"2")])
        await refused(journal)
        disk.free()
        journal.write([StoredObject("end", b"3")])
        await journal.settled()

    asyncio.run(play())
    assert disk.keys == ["round", "decision", "end"]


def test_the_end_of_a_run_is_kept_until_the_disk_takes_it(disk: Disk) -> None:
    async def play() -> None:
        journal = Journal(disk.archive)
        disk.fill()
        journal.write([StoredObject("end", b"1")], for_good=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(journal.settled(), 0.05)
        disk.free()
        await asyncio.wait_for(journal.settled(), 20)

    asyncio.run(play())
    assert disk.keys == ["end"]


def test_a_server_that_stops_waits_for_no_disk(disk: Disk) -> None:
    async def play() -> None:
        journal = Journal(disk.archive)
        disk.fill()
        journal.write([StoredObject("end", b"1")], for_good=True)
        disk.archive.stop()
        await asyncio.wait_for(refused(journal), 20)

    asyncio.run(play())
