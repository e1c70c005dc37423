"""Models as safetensors: arrays that cannot execute anything, with one line of JSON beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedpriv_common.canonical import canonical_json
from fedpriv_common.contract import DataContract
from fedpriv_common.records import RoundClosed, RunInfo
from fedpriv_server.strategy import Iterate, remembers

CONTENT_TYPE: Final = "application/octet-stream"
#: One entry: with several, their order in the file would change from one process to the next.
_METADATA: Final = "fedpriv"
#: Before the number of each array that the strategy remembers.
_MEMORY: Final = "memory."


@dataclass(frozen=True)
class Checkpoint:
    """What a round decided, in one object: a bucket that lost its server in the middle of a round's objects has all
    of the decision or nothing of it. `closed` is the round's close (none before the first round); `declined` each site
    that is asked no more, with its refusal."""

    iterate: Iterate
    closed: RoundClosed | None = None
    declined: Mapping[str, str] = field(default_factory=dict)


def encode_checkpoint(run: RunInfo, checkpoint: Checkpoint) -> bytes:
    """The checkpoint as a file; the same checkpoint always gives the same bytes."""
    iterate = checkpoint.iterate
    metadata = {
        "run_id": run.run_id,
        "plan_digest": run.plan_digest,
        "round": iterate.round,
        "averaged": iterate.averaged,
        "closed": checkpoint.closed.model_dump(mode="json") if checkpoint.closed else None,
        "declined": dict(checkpoint.declined),
    }
    tensors = {"parameters": iterate.parameters, "centre": iterate.centre, "average": iterate.average}
    tensors |= {f"{_MEMORY}{index}": array for index, array in enumerate(iterate.memory)}
    return _encode(tensors, metadata)


def decode_checkpoint(run: RunInfo, data: bytes) -> Checkpoint:
    """The checkpoint in a file; raises ValueError unless it is one of this run."""
    try:
        tensors = load(data)
        metadata = read_metadata(data)
        owner = (metadata["run_id"], metadata["plan_digest"])
        iterate = Iterate(
            round=int(metadata["round"]),
            parameters=tensors["parameters"],
            centre=tensors["centre"],
            average=tensors["average"],
            averaged=int(metadata["averaged"]),
            memory=tuple(tensors[name] for name in sorted(tensors) if name.startswith(_MEMORY)),
        )
        closed, declined = metadata.get("closed"), dict(metadata.get("declined", {}))
        last = RoundClosed.model_validate(closed) if closed is not None else None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a checkpoint: {error}") from None
    if owner != (run.run_id, run.plan_digest):
        raise ValueError(f"the checkpoint belongs to run {owner[0]}, not to {run.run_id}")
    if not remembers(run.plan, iterate):
        raise ValueError(f"the checkpoint lacks what {run.plan.strategy} remembers")
    arrays = (iterate.parameters, iterate.centre, iterate.average, *iterate.memory)
    if iterate.parameters.shape != (run.plan.model.n_parameters,) or not all(np.isfinite(a).all() for a in arrays):
        raise ValueError("the checkpoint's arrays are not those of the plan's model")
    return Checkpoint(iterate, last, {str(site): str(code) for site, code in declined.items()})


def encode_model(run: RunInfo, iterate: Iterate, contract: DataContract) -> bytes:
    """The published model: tensors `parameters` and `centre`, and what is needed to use them."""
    metadata = {
        "run_id": run.run_id,
        "plan_digest": run.plan_digest,
        "contract": contract.dataset,
        "contract_digest": run.plan.contract_digest,
        "model": run.plan.model.model_dump(mode="json"),
        "rounds": iterate.round,
    }
    return _encode({"parameters": iterate.published(), "centre": iterate.centre}, metadata)


def read_metadata(data: bytes) -> dict[str, Any]:
    """The line of JSON in a file that `encode_checkpoint` or `encode_model` made."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata: dict[str, Any] = json.loads(header["__metadata__"][_METADATA])
    return metadata


def same_tensors(first: bytes, second: bytes | None) -> bool:
    """Whether two files hold the same tensors, whatever else they tell, such as how long a round took."""
    return second is not None and _tensors(first) == _tensors(second)


def _tensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return {}, data
    return {name: entry for name, entry in header.items() if name != "__metadata__"}, data[8 + length :]


def _encode(tensors: dict[str, Any], metadata: dict[str, Any]) -> bytes:
    return bytes(save(tensors, {_METADATA: canonical_json(metadata).decode()}))
