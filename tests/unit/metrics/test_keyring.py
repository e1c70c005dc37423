"""API keys: who holds one, until when, and what becomes of a file that is changed, broken or open to others."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_metrics.key_commands import app
from fedpriv_metrics.keyring import LOOK_S, PREFIX, Keyring, digest, new_key, read_keys
from fedpriv_metrics.viewer import Role, Viewer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_time(self) -> None:
        self.now += LOOK_S


def write(path: Path, *entries: dict[str, Any]) -> None:
    path.write_text(json.dumps({"keys": entries}))
    path.chmod(0o600)


def entry(key: str, **other: Any) -> dict[str, Any]:
    return {"name": "someone", "role": "coordinator", "sha256": digest(key)} | other


def keys(*arguments: str, file: Path) -> tuple[int, str, str]:
    outcome = CliRunner().invoke(app, ["key", *arguments, "--file", str(file)])
    return outcome.exit_code, outcome.stdout, outcome.stderr


def test_a_key_is_shown_once_and_kept_as_a_digest_in_a_file_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    status, out, _ = keys("add", "radiology", "--role", "site", "--site", "site-1", file=path)
    key = out.strip()
    assert status == 0
    assert key.startswith(PREFIX)
    assert path.stat().st_mode & 0o777 == 0o600
    assert key not in path.read_text()
    viewer = Keyring(path).viewer(key)
    assert viewer == Viewer(site="site-1", role=Role.SITE, name="radiology")
    status, out, _ = keys("list", file=path)
    assert (status, out) == (0, "radiology\tsite site-1\tno end\n")


def test_a_revoked_key_is_refused_by_a_running_service(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys.json", Clock()
    first = keys("add", "first", "--role", "coordinator", file=path)[1].strip()
    second = keys("add", "second", "--role", "auditor", "--expires", "2100-01-01", file=path)[1].strip()
    ring = Keyring(path, clock)
    viewer = ring.viewer(first)
    assert viewer is not None
    assert keys("remove", "first", file=path)[0] == 0
    clock.pass_time()
    assert ring.viewer(first) is None
    assert not ring.holds(viewer)
    assert ring.viewer(second) == Viewer(role=Role.AUDITOR, name="second", expires=datetime(2100, 1, 1, tzinfo=UTC))


def test_whoever_could_read_the_file_still_can_when_it_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys("add", "first", "--role", "coordinator", file=path)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    before = path.stat()
    assert keys("add", "second", "--role", "auditor", file=path)[0] == 0
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


@pytest.mark.parametrize(
    "broken",
    ["", "{", '{"keys": 3}', '{"keys": [{"name": "x", "role": "god", "sha256": "00"}]}', '{"keys": [], "more": 1}'],
)
def test_a_file_that_breaks_changes_nothing_and_at_a_start_is_refused(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock, key = tmp_path / "keys.json", Clock(), new_key()
    write(path, entry(key))
    ring = Keyring(path, clock)
    path.write_text(broken)
    clock.pass_time()
    assert ring.viewer(key) is not None
    assert "stay as they were" in caplog.text
    with pytest.raises(FedprivError) as refused:
        Keyring(path)
    assert refused.value.code is ErrorCode.BAD_KEY
    write(path)
    clock.pass_time()
    assert ring.viewer(key) is None


def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    path, clock, key = tmp_path / "keys.json", Clock(), new_key()
    write(path, entry(key))
    ring = Keyring(path, clock)
    path.unlink()
    clock.pass_time()
    assert ring.viewer(key) is not None
    with pytest.raises(FedprivError, match="key add"):
        read_keys(path)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write(path, entry(new_key()))
    path.chmod(0o622)
    with pytest.raises(FedprivError, match="written by others"):
        read_keys(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "site"},
        {"site": "site-1"},
        {"role": "site", "site": "global"},
        {"sha256": "00"},
        {"name": "Dr. Who"},
        {"expires": "2026-01-01T00:00:00"},
        {"password": "x"},
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    path = tmp_path / "keys.json"
    write(path, entry(new_key()) | wrong)
    with pytest.raises(FedprivError):
        read_keys(path)


def test_an_expired_key_is_refused_and_a_key_of_any_length_is_read(tmp_path: Path) -> None:
    path, key = tmp_path / "keys.json", new_key()
    write(path, entry(key, expires=(datetime.now(UTC) - timedelta(seconds=1)).isoformat()))
    ring = Keyring(path)
    assert ring.viewer(key) is None
    assert ring.viewer("x" * 10_000) is None
    assert ring.viewer("") is None


def test_what_cannot_be_added_or_removed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    assert keys("add", "a", "--role", "coordinator", file=path)[0] == 0
    before = path.read_bytes()
    for arguments, said in (
        (("add", "a", "--role", "auditor"), "has a key"),
        (("add", "b", "--role", "site"), "names its site"),
        (("add", "b", "--role", "king"), "king"),
        (("remove", "b"), "nobody called b"),
    ):
        status, _, error = keys(*arguments, file=path)
        assert status == 2, arguments
        assert said in " ".join(error.split())
    assert path.read_bytes() == before
    assert not Path(f"{path}.new").exists()
