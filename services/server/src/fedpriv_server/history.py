"""What earlier starts of the server left: runs that ended, and runs to go on with."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode
from fedpriv_common.plan import Phase
from fedpriv_common.records import (
    GLOBAL,
    Admission,
    HeldOutEvaluation,
    MetricRecord,
    RoundClosed,
    RunDecision,
    RunEnd,
    RunInfo,
    RunSites,
)
from fedpriv_common.statement.schema import SignedPart
from fedpriv_server.archive import Archive
from fedpriv_server.checkpoint import Checkpoint, decode_checkpoint
from fedpriv_server.hub import Progress
from fedpriv_server.status import RunStatus

log = logging.getLogger(__name__)

#: Newest runs that are looked at. One run is active at a time, so what is left unfinished is among the newest.
_LOOKED_AT: Final = 50


TakePart = Callable[[RunInfo, str, str], SignedPart]
Record = TypeVar("Record", bound=BaseModel)


@dataclass(frozen=True)
class History:
    """`ended`, oldest first; `unfinished`, oldest first, with how far each came; `unreadable`: ids of runs that have
    not ended and of which not even the plan can be read, with the sites that may hold a budget for them."""

    ended: list[RunStatus]
    unfinished: list[tuple[RunInfo, Progress]]
    unreadable: dict[str, list[str]]


def read_history(archive: Archive, take_part: TakePart) -> History:
    """Read the newest runs. `take_part` is given run, site and text of each part of a statement that was stored for an
    unfinished run, and raises ValueError for one that is not the site's. Blocks; raises STORE_UNAVAILABLE."""
    ended: list[RunStatus] = []
    unfinished: list[tuple[RunInfo, Progress]] = []
    unreadable: dict[str, list[str]] = {}
    for run_id in archive.run_ids()[-_LOOKED_AT:]:
        info_body, end_body = archive.get(keys.run_info(run_id)), archive.get(keys.run_end(run_id))
        if info_body is None:
            continue  # somebody else's folder
        try:
            info = RunInfo.model_validate_json(info_body)
            if info.run_id != run_id:
                raise ValueError(f"run.json of {info.run_id} under {run_id}")
            if end_body is not None:
                ended.append(_ended(info, RunEnd.model_validate_json(end_body)))
            else:
                unfinished.append((info, read_progress(archive, info, take_part)))
        except ValueError:
            # A run of another version, or one that was tampered with, must not keep the server from starting.
            log.exception("run_unreadable", extra={"run_id": run_id})
            if end_body is None:
                unreadable[run_id] = _sites_of(archive, run_id)
    return History(ended, unfinished, unreadable)


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


def read_progress(archive: Archive, info: RunInfo, take_part: TakePart) -> Progress:
    """How far a run came, with its fault when something that it needs to go on is not what the server wrote.

    Blocks; raises STORE_UNAVAILABLE.
    """
    return _Reader(archive, info).progress(take_part)


class _Reader:
    """Reads one unfinished run. What holds something else than its key says is noted, and taken for absent."""

    def __init__(self, archive: Archive, info: RunInfo) -> None:
        self._archive, self._info = archive, info
        self._prefix = keys.run_prefix(info.run_id)
        self._known = archive.keys(self._prefix)
        self._damaged = False

    def progress(self, take_part: TakePart) -> Progress:
        asked = self._record(keys.run_asked(self._info.run_id), RunSites)
        admissions = [self._record(key, Admission) for key in self._below("admissions/")]
        checkpoint = self._checkpoint()
        number = checkpoint.iterate.round if checkpoint else -1
        metrics = self._record(keys.record(self._info.run_id, number, GLOBAL, Phase.EVALUATE), MetricRecord)
        evaluations = [self._record(key, HeldOutEvaluation) for key in self._below("evaluations/")[-1:]]
        decision = self._record(keys.run_decision(self._info.run_id), RunDecision)
        return Progress(
            asked=asked.sites if asked else (),
            admissions={entry.site: entry for entry in admissions if entry is not None},
            checkpoint=checkpoint,
            short=self._short(checkpoint),
            decision=decision,
            fault=ErrorCode.RUN_DAMAGED if self._damaged else None,
            metrics=metrics.metrics if metrics else {},
            known=frozenset(self._known),
            parts=dict(self._parts(take_part)),
            held_out=evaluations[0].figures if evaluations and evaluations[0] else {},
        )

    def _below(self, folder: str) -> list[str]:
        return [key for key in self._known if key.startswith(f"{self._prefix}{folder}")]

    def _record(self, key: str, kind: type[Record]) -> Record | None:
        body = self._archive.get(key) if key in self._known else None
        try:
            return None if body is None else kind.model_validate_json(body)
        except ValidationError as error:
            self._note(key, error)
            return None

    def _checkpoint(self) -> Checkpoint | None:
        """The newest that can be read: where a damaged one is, its run does not go on, but keeps its last model."""
        for key in reversed(self._below("checkpoints/")):
            try:
                checkpoint = decode_checkpoint(self._info, self._archive.get(key) or b"")
                if keys.checkpoint(self._info.run_id, checkpoint.iterate.round) == key:
                    return checkpoint
                raise ValueError(f"the checkpoint is of round {checkpoint.iterate.round}")
            except ValueError as error:
                self._note(key, error)
        return None

    def _short(self, checkpoint: Checkpoint | None) -> RoundClosed | None:
        """The close of a round that too few sites answered, which is how the run was about to end."""
        first = 0 if self._info.plan.centre is not None else 1
        number = checkpoint.iterate.round + 1 if checkpoint else first
        closed = self._record(keys.round_closed(self._info.run_id, number), RoundClosed)
        quorum = self._info.settings.quorum or self._info.plan.sites
        return closed if closed is not None and len(closed.received) < quorum else None

    def _parts(self, take_part: TakePart) -> Iterator[tuple[str, SignedPart]]:
        """Parts whose signatures hold. Without one its site has no part, which the statement says."""
        for key in self._below("parts/"):
            site = key.rpartition("/")[2].removesuffix(".json")
            try:
                yield site, take_part(self._info, site, (self._archive.get(key) or b"").decode())
            except ValueError as error:
                log.warning("part_ignored", extra={"key": key, "reason": str(error)[:200]})

    def _note(self, key: str, error: ValueError) -> None:
        self._damaged = True
        log.error("object_damaged", extra={"key": key, "reason": str(error)[:200]})


def _sites_of(archive: Archive, run_id: str) -> list[str]:
    """Sites that answered a run's plan, by the names of the answers."""
    prefix = f"{keys.run_prefix(run_id)}admissions/"
    return [key.removeprefix(prefix).removesuffix(".json") for key in archive.keys(prefix)]


def _ended(info: RunInfo, end: RunEnd) -> RunStatus:
    return RunStatus(
        run_id=info.run_id,
        name=info.settings.name,
        state=end.state,
        cause=end.cause,
        code=end.code,
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
