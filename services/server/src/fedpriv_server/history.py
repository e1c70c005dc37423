"""What earlier starts of the server left: runs that ended, and runs to go on with."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from fedpriv_common import keys
from fedpriv_common.plan import Phase
from fedpriv_common.records import GLOBAL, Admission, HeldOutEvaluation, MetricRecord, RunEnd, RunInfo
from fedpriv_common.statement.schema import SignedPart
from fedpriv_server.archive import Archive
from fedpriv_server.checkpoint import decode_checkpoint
from fedpriv_server.hub import Progress
from fedpriv_server.status import RunStatus

log = logging.getLogger(__name__)

#: Newest runs that are looked at. One run is active at a time, so what is left unfinished is among the newest.
_LOOKED_AT: Final = 50


@dataclass(frozen=True)
class History:
    """`ended`, oldest first; `unfinished`, oldest first, with how far each came."""

    ended: list[RunStatus]
    unfinished: list[tuple[RunInfo, Progress]]


def read_history(archive: Archive) -> History:
    """Read the newest runs. Blocks; raises STORE_UNAVAILABLE."""
    ended: list[RunStatus] = []
    unfinished: list[tuple[RunInfo, Progress]] = []
    for run_id in archive.run_ids()[-_LOOKED_AT:]:
        try:
            info_body, end_body = archive.get(keys.run_info(run_id)), archive.get(keys.run_end(run_id))
            if info_body is None:
                continue  # somebody else's folder
            info = RunInfo.model_validate_json(info_body)
            if end_body is not None:
                ended.append(_ended(info, RunEnd.model_validate_json(end_body)))
            else:
                unfinished.append((info, read_progress(archive, info)))
        except (ValidationError, ValueError):
            # A run of another version, or one that was tampered with, must not keep the server from starting.
            log.exception("run_unreadable", extra={"run_id": run_id})
    return History(ended, unfinished)


def find_named(archive: Archive, name: str) -> RunStatus | None:
    """The newest run of this name that has ended, however long ago. Blocks; raises STORE_UNAVAILABLE."""
    for run_id in reversed(archive.run_ids()):
        with contextlib.suppress(ValidationError):  # of another version: its name is not known here
            info_body = archive.get(keys.run_info(run_id))
            info = RunInfo.model_validate_json(info_body) if info_body is not None else None
            if info is not None and info.settings.name == name:
                end_body = archive.get(keys.run_end(run_id))
                if end_body is not None:
                    return _ended(info, RunEnd.model_validate_json(end_body))
    return None


def read_progress(archive: Archive, info: RunInfo) -> Progress:
    """How far a run came; raises ValueError when its newest checkpoint is not one of it."""
    known = archive.keys(keys.run_prefix(info.run_id))
    admissions = {}
    for key in known:
        if key.startswith(f"{keys.run_prefix(info.run_id)}admissions/"):
            body = archive.get(key)
            if body is not None:
                admission = Admission.model_validate_json(body)
                admissions[admission.site] = admission
    parts = {}
    for key in known:
        if key.startswith(f"{keys.run_prefix(info.run_id)}parts/"):
            body = archive.get(key)
            with contextlib.suppress(ValidationError):  # without it the site has no part, which the statement says
                signed = SignedPart.model_validate_json(body or b"")
                parts[signed.part.site] = signed
    checkpoints = [key for key in known if key.startswith(f"{keys.run_prefix(info.run_id)}checkpoints/")]
    iterate, metrics = None, {}
    if checkpoints:
        body = archive.get(checkpoints[-1])
        iterate = None if body is None else decode_checkpoint(info, body)
    if iterate is not None and iterate.round > 0:
        body = archive.get(keys.record(info.run_id, iterate.round, GLOBAL, Phase.EVALUATE))
        metrics = {} if body is None else MetricRecord.model_validate_json(body).metrics
    evaluations = [key for key in known if key.startswith(f"{keys.run_prefix(info.run_id)}evaluations/")]
    body = archive.get(evaluations[-1]) if evaluations else None
    held_out = {} if body is None else HeldOutEvaluation.model_validate_json(body).figures
    return Progress(admissions, iterate, metrics, frozenset(known), parts, held_out)


def _ended(info: RunInfo, end: RunEnd) -> RunStatus:
    return RunStatus(
        run_id=info.run_id,
        name=info.settings.name,
        state=end.state,
        cause=end.cause,
        created_at=info.created_at,
        epsilon=info.plan.epsilon,
        delta=info.plan.delta,
        round=end.rounds,
        rounds=info.plan.rounds,
        metrics=end.metrics,
        held_out=end.held_out,
        sites=(),
        median_round_ms=None,
        elapsed_s=end.duration_s,
        model=keys.model(info.run_id) if end.model_digest else None,
    )
