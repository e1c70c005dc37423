"""A folder of another version is refused and left alone."""

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.stamp import stamp


def test_a_folder_is_marked_once_and_known_again(tmp_path):
    folder = tmp_path / "a" / "b"
    stamp(folder, "STATE")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    stamp(folder, "STATE")
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("mark", ["2\n", "", "1.0"])
def test_another_form_is_refused_and_nothing_changes(tmp_path, mark):
    (tmp_path / "form").write_text(mark)
    with pytest.raises(FedprivError, match=f"STATE: {tmp_path} holds form") as raised:
        stamp(tmp_path, "STATE")
    assert raised.value.code is ErrorCode.OTHER_VERSION
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("form", mark)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FedprivError, match=r"STATE: .*file/state cannot be used") as raised:
        stamp(tmp_path / "file" / "state", "STATE")
    assert raised.value.code is ErrorCode.BAD_SETTING
