"""Runs that wait for a person's approval: what the server asked for, kept where `fedpriv approve` finds it.

One small file a run, in the site's state folder. A server may ask for as many runs as it likes: only the newest few
are kept, and a run's first plan stays, so that what a person was shown is what they approve.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.plan import Plan
from fedpriv_common.records import RunId

log = logging.getLogger(__name__)

#: How many are kept. Runs of one server come one after another, so more than one or two is a server gone astray.
KEPT: Final = 20


class RunRequest(BaseModel):
    """A run that a server asked for, with its whole plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: RunId
    plan: Plan
    server: str
    asked_at: AwareDatetime


class RunRequests:
    """The folder of requests. The site's process writes it, the command reads it."""

    def __init__(self, state_dir: Path, server: str = "") -> None:
        """`server`: the address that this site takes requests from, which a person is told; not needed to read."""
        self._folder = state_dir / "requests"
        self._server = server

    def keep(self, run_id: str, plan: Plan) -> None:
        """Keep a request for a person to see; asked again, it is left as it is.

        Raises REQUEST_CHANGED for another plan under the same run. A full disk loses the request, not the site: the
        server asks again.
        """
        known = self.find(run_id)
        if known is not None:
            if known.plan.digest() != plan.digest():
                raise RefusalError(Refusal.REQUEST_CHANGED, f"run {run_id} waits for approval with another plan")
            return
        try:
            request = RunRequest(run_id=run_id, plan=plan, server=self._server, asked_at=datetime.now(UTC))
        except ValidationError:
            raise RefusalError(Refusal.BAD_REQUEST, "run_id is no ULID") from None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = self._path(run_id).with_suffix(".new")
            written.write_text(request.model_dump_json())
            written.replace(self._path(run_id))
            for path in self._newest_first()[KEPT:]:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("request_not_kept", extra={"run_id": run_id, "reason": error.strerror})
        else:
            log.info("approval_needed", extra={"run_id": run_id, "plan_digest": plan.digest()})

    def drop(self, run_id: str) -> None:
        """Forget a request that is settled."""
        with suppress(OSError):
            self._path(run_id).unlink(missing_ok=True)

    def find(self, run_id: str) -> RunRequest | None:
        """The request of a run, None when none is kept."""
        return _read(self._path(run_id))

    def all(self) -> list[RunRequest]:
        """Every request that is kept, newest first."""
        found = (_read(path) for path in self._newest_first())
        return [request for request in found if request is not None]

    def _newest_first(self) -> list[Path]:
        dated = []
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                dated.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(dated, reverse=True)]

    def _path(self, run_id: str) -> Path:
        # A run's id comes from the server: nothing of it may name another folder.
        return self._folder / f"{Path(run_id).name}.json"


def _read(path: Path) -> RunRequest | None:
    try:
        return RunRequest.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
