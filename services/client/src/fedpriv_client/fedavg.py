"""Rounds of a stock Flower strategy: its records become requests of ours, and our release the records it averages.

The message of `flwr.serverapp.strategy.FedAvg`, with `configrecord_key="fedpriv"`, and what goes back:

    fedpriv    ConfigRecord    run_id, plan (JSON), server-round       parameters + the site's release    ArrayRecord
    arrays     ArrayRecord     the model's tensors                     num-examples, which is always 1    MetricRecord

Nothing else goes back. What does is made of the charged release and of the parameters that came, so it costs nothing
beyond the release.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final, Self

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from pydantic import TypeAdapter, ValidationError

from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.records import RunId
from fedpriv_common.wire import RECORD, FloatArray, Operation, Request, decode_array, encode_array

#: The code of Flower's error replies for "the ClientApp failed"; why is the reply's reason, one of our fixed codes.
APP_FAILED: Final = 2
#: What a strategy weighs replies by. Every site weighs the same: how many records it holds is not for the server.
WEIGHT: Final = {"num-examples": 1}

_FIELDS: Final = {"run_id", "plan", "server-round"}
_DTYPES: Final = ("float32", "float64")
_RUN_ID: TypeAdapter[str] = TypeAdapter(RunId)


def holds_arrays(message: Message) -> bool:
    """Whether a message is a stock strategy's; our own server's hold none of Flower's arrays."""
    return message.has_content() and bool(message.content.array_records)


@dataclass(frozen=True)
class FedAvgRound:
    """One training round as a stock strategy asks for it. `parameters`, shape (n_parameters,), were tensors of the
    `names` and `dtypes`, in the order of the plan's model, in the ArrayRecord `key`."""

    run_id: str
    number: int
    plan: Plan
    key: str
    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    parameters: FloatArray

    @classmethod
    def read(cls, message: Message) -> Self:
        """Parse a message; raises BAD_REQUEST, or BAD_PARAMETERS for tensors that are not those of the plan's model."""
        content = message.content
        if message.metadata.message_type != MessageType.TRAIN:
            raise _bad("figures of a model on records leave a site by a plan's evaluations only: fraction_evaluate=0")
        if len(content) != 2 or len(content.array_records) != 1:
            raise _bad(f"a round is one ArrayRecord and the ConfigRecord {RECORD!r}")
        fields = content.get(RECORD)
        if not isinstance(fields, ConfigRecord) or set(fields) != _FIELDS:
            raise _bad(f"{RECORD!r} must be a ConfigRecord of {', '.join(sorted(_FIELDS))}")
        number, planned = fields["server-round"], fields["plan"]
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(planned, str):
            raise _bad("server-round is no integer or plan no text")
        try:
            run_id, plan = _RUN_ID.validate_python(fields["run_id"]), Plan.model_validate_json(planned)
        except ValidationError as error:
            raise _bad(f"run_id is no ULID or plan no plan: {error.error_count()} faults") from None
        if plan.recipe is not Recipe.FEDAVG_MLP:
            raise _bad(f"sites send no changes of parameters in {plan.recipe}: plan {Recipe.FEDAVG_MLP}")
        ((key, arrays),) = content.array_records.items()
        names = tuple(arrays)
        if len(names) != len(plan.model.shapes):
            raise RefusalError(Refusal.BAD_PARAMETERS, f"{len(names)} tensors for {len(plan.model.shapes)}")
        tensors = [_tensor(arrays[name], shape) for name, shape in zip(names, plan.model.shapes, strict=True)]
        parameters = np.concatenate([tensor.ravel() for tensor in tensors]).astype(np.float64)
        return cls(run_id, number, plan, key, names, tuple(arrays[name].dtype for name in names), parameters)

    def admit(self) -> Request:
        """The plan, as our own server shows it before the first round. To a site that admitted it, nothing new."""
        return Request(
            operation=Operation.ADMIT,
            run_id=self.run_id,
            plan=self.plan.model_dump_json(),
            plan_digest=self.plan.digest(),
        )

    def release(self) -> Request:
        """The round."""
        return Request(
            operation=Operation.RELEASE,
            run_id=self.run_id,
            plan_digest=self.plan.digest(),
            round=self.number,
            phase=Phase.TRAIN,
            parameters=encode_array(self.parameters),
        )

    def answer(self, payload: bytes) -> RecordDict:
        """What the strategy averages: the parameters that the site's release proposes."""
        proposed = self.parameters + decode_array(payload, self.plan.model.n_parameters)
        tensors = zip(self.names, self.dtypes, self.plan.model.unflatten(proposed), strict=True)
        arrays = ArrayRecord({name: Array(tensor.astype(dtype)) for name, dtype, tensor in tensors})
        return RecordDict({self.key: arrays, "metrics": MetricRecord({**WEIGHT})})


def _tensor(array: Array, shape: tuple[int, ...]) -> FloatArray:
    """The values of an array in numpy's format, which are as many as `shape` says before one of them is read."""
    if array.stype != "numpy.ndarray" or array.dtype not in _DTYPES or tuple(array.shape) != shape:
        raise RefusalError(Refusal.BAD_PARAMETERS, f"a tensor of another form than {shape} of {' or '.join(_DTYPES)}")
    stream = BytesIO(array.data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another version")
        declared, by_column, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # whatever foreign content makes numpy's parser raise
        raise RefusalError(Refusal.BAD_PARAMETERS, f"a tensor without a header ({type(error).__name__})") from None
    values = array.data[stream.tell() :]
    if declared != shape or dtype != np.dtype(array.dtype) or len(values) != dtype.itemsize * int(np.prod(shape)):
        raise RefusalError(Refusal.BAD_PARAMETERS, f"a tensor that is none of {shape} of {array.dtype}")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if by_column else "C").astype(np.float64)


def _bad(detail: str) -> RefusalError:
    return RefusalError(Refusal.BAD_REQUEST, detail)
