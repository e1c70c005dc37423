"""A stock strategy's messages at a site with a ledger: what is charged, what goes back, what is refused."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.constant import ErrorCode
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_client.app import SiteApp
from fedpriv_client.fedavg import APP_FAILED, FedAvgRound
from fedpriv_common.errors import RefusalError
from fedpriv_common.recipes import Recipe
from fedpriv_common.wire import decode_array

from .conftest import RUN, SiteOnDisk, plan_of

PLAN = plan_of(recipe=Recipe.FEDAVG_MLP, epsilon=1.0, sites=1, rounds=2, evaluations=0)
MODEL = PLAN.model
START = MODEL.initial_parameters(np.random.default_rng(1))


def message(
    parameters=START,
    number=1,
    plan=PLAN,
    dtype="float64",
    message_type="train",
    records=None,
    arrays=None,
    told=None,
    **changes,
):
    fields = {"run_id": RUN, "plan": told or plan.model_dump_json(), "server-round": number, **changes}
    tensors = {f"layer.{i}": Array(tensor.astype(dtype)) for i, tensor in enumerate(MODEL.unflatten(parameters))}
    content = {"arrays": ArrayRecord(tensors if arrays is None else arrays), "fedpriv": ConfigRecord(fields)}
    metadata = Metadata(1, "m", 1, 2, "", "", 1.0, 3600.0, message_type)
    return make_message(metadata=metadata, content=RecordDict({**content, **(records or {})}))


@pytest.fixture
def on_disk(tmp_path):
    return SiteOnDisk(tmp_path)


def app_of(on_disk):
    return SiteApp(on_disk.start(), lambda _: None)


def charges(on_disk):
    return [(charge["round"], charge["phase"], charge["state"]) for charge in on_disk.ledger.export()]


def refused(reply: Message):
    assert not reply.has_content()
    assert reply.error.code == APP_FAILED
    return reply.error.reason


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_goes_back_is_the_charged_release_on_top_of_what_came_and_nothing_else(on_disk, dtype):
    reply = app_of(on_disk).run(message(dtype=dtype))
    assert set(reply.content) == {"arrays", "metrics"}
    assert dict(reply.content["metrics"]) == {"num-examples": 1}, "no count of records"
    assert charges(on_disk) == [(1, "train", "committed")]
    (charge,) = on_disk.ledger.export()
    payload = on_disk.ledger._store.reply(charge["reply_digest"])
    proposed = START.astype(dtype).astype(np.float64) + decode_array(payload, MODEL.n_parameters)
    arrays = reply.content["arrays"]
    assert list(arrays) == [f"layer.{i}" for i in range(4)]
    for tensor, expected in zip(arrays.to_numpy_ndarrays(), MODEL.unflatten(proposed), strict=True):
        assert tensor.dtype == dtype
        assert np.array_equal(tensor, expected.astype(dtype))


def test_a_round_asked_again_is_the_same_bytes_and_asked_otherwise_is_refused(on_disk):
    first = app_of(on_disk).run(message())
    app = app_of(on_disk)  # a new process
    again = app.run(message())
    assert again.content["arrays"].object_id == first.content["arrays"].object_id
    assert refused(app.run(message(START + 1.0))) == "REQUEST_CHANGED"
    other = PLAN.model_copy(update={"min_reply_ms": 1})
    assert refused(app.run(message(plan=other))) == "REQUEST_CHANGED"
    assert len(on_disk.trained) == 1
    assert charges(on_disk) == [(1, "train", "committed")]


def test_what_a_site_does_not_do_is_a_fixed_code_and_costs_nothing(on_disk):
    app = app_of(on_disk)
    cases = {
        "exact figures": (message(message_type="evaluate"), "BAD_REQUEST"),
        "a round after the last": (message(number=3), "BAD_REQUEST"),
        "a truth for a round": (message(number=True), "BAD_REQUEST"),
        "a field too many": (message(**{"proximal-mu": 0.1}), "BAD_REQUEST"),
        "a record too many": (message(records={"more": ConfigRecord({})}), "BAD_REQUEST"),
        "arrays too many": (message(records={"more": ArrayRecord([np.zeros(1)])}), "BAD_REQUEST"),
        "no plan": (message(told="{}"), "BAD_REQUEST"),
        "bytes for a plan": (message(told=b"\xff"), "BAD_REQUEST"),
        "a path for a run": (message(run_id="../../ledger"), "BAD_REQUEST"),
        "sums of gradients": (message(plan=plan_of()), "BAD_REQUEST"),
        "an unknown action": (message(message_type="train.more"), "BAD_REQUEST"),
        "less epsilon than it charges": (message(plan=PLAN.model_copy(update={"epsilon": 0.5})), "POLICY_REFUSED"),
        "infinite parameters": (message(np.full_like(START, np.inf)), "BAD_PARAMETERS"),
        "half precision": (message(dtype="float16"), "BAD_PARAMETERS"),
        "one tensor": (message(arrays=[START]), "BAD_PARAMETERS"),
        "another order": (message(arrays=MODEL.unflatten(START)[::-1]), "BAD_PARAMETERS"),
    }
    assert {name: refused(app.run(asked)) for name, (asked, _) in cases.items()} == {
        name: code for name, (_, code) in cases.items()
    }
    assert charges(on_disk) == []


def test_a_fault_of_the_site_is_a_code():
    class Broken:
        def handle(self, request):
            raise ValueError("record 4711")

    assert refused(SiteApp(Broken(), lambda _: None).run(message())) == "INTERNAL"


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_of_a_tensor_do_anything_but_be_refused(noise, keep_header):
    good = Array(np.zeros(MODEL.shapes[0])).data
    arrays = {str(i): Array(np.zeros(shape)) for i, shape in enumerate(MODEL.shapes)}
    arrays["0"] = Array("float64", MODEL.shapes[0], "numpy.ndarray", (good[:40] if keep_header else b"") + noise)
    with pytest.raises(RefusalError, match="BAD_PARAMETERS"):
        FedAvgRound.read(message(arrays=arrays))


def test_the_code_for_a_failed_app_is_flowers():
    assert APP_FAILED == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
