"""The outbox keeps order and content over any interruption."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_server.outbox import Outbox, StoredObject

objects = st.builds(StoredObject, st.text(max_size=20), st.binary(max_size=50), st.sampled_from(["a/b", "c/d"]))
bundles = st.lists(objects, min_size=1, max_size=4)
#: What happens to it: a bundle is added, the oldest is sent, or the process dies and another opens the folder.
happenings = st.lists(st.one_of(bundles, st.sampled_from(["send", "crash"])), max_size=25)


@settings(max_examples=60, deadline=None)
@given(happenings)
def test_whatever_happens_bundles_leave_in_order_and_whole(happened: list[list[StoredObject] | str]) -> None:
    with TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder))
        expected: list[list[StoredObject]] = []
        for what in happened:
            if what == "crash":
                outbox = Outbox(Path(folder))
            elif what == "send":
                number = outbox.oldest()
                assert (number is None) == (not expected)
                if number is not None:
                    assert outbox.read(number) == expected.pop(0)
                    outbox.remove(number)
            elif isinstance(what, list):
                outbox.add(what)
                expected.append(what)
            assert len(outbox) == len(expected)
            assert list(outbox.objects()) == [entry for bundle in expected for entry in bundle]


def test_a_bundle_that_was_not_written_to_the_end_never_was(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.add([StoredObject("first", b"1")])
    (tmp_path / ".000000000001.bundle").write_bytes(b"half of")
    again = Outbox(tmp_path)
    assert [entry.key for entry in again.objects()] == ["first"]
    again.add([StoredObject("second", b"2")])
    assert [entry.key for entry in again.objects()] == ["first", "second"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"x" + d, lambda _: b"", lambda d: d + b"x"])
def test_a_damaged_bundle_is_set_aside_and_the_next_one_goes(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    outbox = Outbox(tmp_path)
    outbox.add([StoredObject("damaged", b"1")])
    outbox.add([StoredObject("whole", b"2")])
    path = tmp_path / "000000000000.bundle"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError):
        outbox.read(0)
    assert [entry.key for entry in outbox.objects()] == ["whole"]
    outbox.set_aside(0)
    assert outbox.oldest() == 1
    assert (tmp_path / "000000000000.damaged").exists()


def test_waiting_ends_when_there_is_work_and_when_there_is_none(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert outbox.wait_until_empty(0)
    assert not outbox.wait_for_work(0)
    outbox.add([StoredObject("key", b"")])
    assert outbox.wait_for_work(0)
    assert not outbox.wait_until_empty(0)


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FedprivError) as refused:
        Outbox(file / "outbox")
    assert refused.value.code is ErrorCode.BAD_SETTING
    assert "FEDPRIV_STATE_DIR" in str(refused.value)


def test_a_bundle_that_the_disk_does_not_take_leaves_the_disk_as_it_was(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(OSError):
            outbox.add([StoredObject("key", bytes(2 * 2**20))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert outbox.oldest() is None
