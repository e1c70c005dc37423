"""What a site's process remembers from one start to the next, and the proof that it is the only one."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.stamp import stamp


class StateDir:
    """The state folder, held by one process at a time.

    Two processes with one node key would take messages from each other; the lock is the operating system's, so a
    killed process leaves none behind.
    """

    def __init__(self, path: Path, *, alone: bool = True) -> None:
        """Hold the folder, making it when it is not there.

        Raises BAD_SETTING when another process holds it, OTHER_VERSION when another version has written it.
        Not `alone`: something else says who may use the folder, and no lock is taken.
        """
        self._node_id = path / "node_id"
        stamp(path, "FEDPRIV_STATE_DIR")
        try:
            # Held for the life of the process: closing it would let go of the lock.
            self._lock = (path / "lock").open("w")
            if alone:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FedprivError(
                ErrorCode.BAD_SETTING,
                f"FEDPRIV_STATE_DIR: {path} is in use by another process of this site.",
                "End that one, or give this one a folder, node key and ledger of its own.",
            ) from None
        except OSError as error:
            raise FedprivError(
                ErrorCode.BAD_SETTING,
                f"FEDPRIV_STATE_DIR: {path} cannot be written ({error.strerror}).",
                "Check that the folder exists and its owner.",
            ) from None

    @property
    def node_id(self) -> int | None:
        """The id under which this site was last online, None when it never was."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._node_id.read_text())
        return None

    @node_id.setter
    def node_id(self, node_id: int) -> None:
        written = self._node_id.with_suffix(".new")
        # Without it a restart takes a minute longer, which is no reason to stop now.
        with contextlib.suppress(OSError):
            written.write_text(f"{node_id}\n")
            written.replace(self._node_id)

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()
