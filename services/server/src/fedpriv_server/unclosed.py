"""Runs that ended while a site was away. The site still holds the run's budget, until it hears of the end."""

from __future__ import annotations

from pathlib import Path

from fedpriv_common.errors import ErrorCode, FedprivError


class Unclosed:
    """Which ends a site has not heard of: one empty file each, so that a crash leaves nothing half-written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FedprivError(
                ErrorCode.BAD_SETTING,
                f"FEDPRIV_STATE_DIR: {folder} cannot be used ({error.strerror}).",
                "Give a folder that this user may write, and that nothing else writes to.",
            ) from None

    def of(self, site: str) -> list[str]:
        """Ids of the runs that the site should hear of, oldest first."""
        return sorted(path.name.partition(".")[0] for path in self._folder.glob(f"*.{site}"))

    def add(self, run_id: str, site: str) -> None:
        """The site did not hear of the run's end."""
        (self._folder / f"{run_id}.{site}").touch()

    def heard(self, run_id: str, site: str) -> None:
        """It has now."""
        (self._folder / f"{run_id}.{site}").unlink(missing_ok=True)
