"""What decodes foreign bytes says no in the one way that is agreed, or gives something whole."""

from __future__ import annotations

import ssl
from random import Random
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedpriv_client.app import SiteApp
from fedpriv_client.fleet import AbandonedError, Fleet
from fedpriv_common import carriage
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.plan import RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.statement.schema import SignedPart
from fedpriv_common.wire import OK, Operation, Reply, Request, decode_array
from fedpriv_server.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from fedpriv_server.strategy import Iterate
from tests.fuzz.conftest import COUNTS, fuzzing, share
from tests.fuzz.gate_calls import SPECIAL, Calls, counted, mutated
from tests.unit.server.test_checkpoint import run_info

seeds = st.integers(0, 2**64 - 1)
scalars = st.one_of(st.text(max_size=30), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=80))
RUN = "01J9ZZZZZZZZZZZZZZZZZZZZZZ"
REQUEST = Request(operation=Operation.RELEASE, run_id=RUN, round=1, parameters=b"\0" * 16).to_fields()
REPLY = Reply(code=OK, payload=b"\0" * 16).to_fields()


def fields_like(known: dict[str, Any]) -> st.SearchStrategy[dict[str, object]]:
    """The known fields with some of another value or kind, some missing, some unknown."""
    others = st.dictionaries(st.one_of(st.sampled_from(sorted(known)), st.text(max_size=8)), scalars, max_size=4)
    return st.builds(
        lambda changed, gone: {key: value for key, value in {**known, **changed}.items() if key not in gone},
        others,
        st.one_of(st.just(set()), st.sets(st.sampled_from(sorted(known)), max_size=1)),
    )


@fuzzing
@given(fields_like(REQUEST))
def test_a_request_is_whole_or_a_bad_request(fields: dict[str, object]) -> None:
    COUNTS["inputs"] += 1
    with counted("Request.from_fields"):
        try:
            request = Request.from_fields(fields)
        except RefusalError as refused:
            assert refused.refusal is Refusal.BAD_REQUEST
            return
        assert Request.from_fields(request.to_fields()) == request
        try:
            decode_array(request.parameters, 2)
        except RefusalError as refused:
            assert refused.refusal is Refusal.BAD_PARAMETERS


@fuzzing
@given(fields_like(REPLY))
def test_a_reply_is_whole_or_a_value_error(fields: dict[str, object]) -> None:
    COUNTS["inputs"] += 1
    with counted("Reply.from_fields"):
        try:
            reply = Reply.from_fields(fields)
        except ValueError:
            return
        assert reply.code == OK or reply.code in set(Refusal)
        try:
            SignedPart.model_validate_json(reply.part)
        except ValidationError:
            return


class Echo:
    """Answers every request that is one."""

    def handle(self, request: Request) -> Reply:
        return Reply(code=OK)


class Server:
    """What a site's pull gets from a server that sends what it likes."""

    def __init__(self, strategy_of_flowers: bool) -> None:
        self.calls = Calls()
        self.message = self.calls.message
        if strategy_of_flowers:
            self.message = make_message(metadata=self.message.metadata, content=asked_by_fedavg())
        content = get_all_nested_objects(self.message)
        self.objects = {object_id: part.deflate() for object_id, part in content.items()}
        self.tree = get_object_tree(self.message)
        self.answer = PullMessagesResponse(
            messages_list=[message_to_proto(remove_content_from_message(self.message))],
            message_object_trees=[self.tree],
        )
        key, authority = self.calls.hub.keys["a"], ssl.create_default_context()
        self.fleet = Fleet("https://127.0.0.1:9", authority, key)
        self.fleet._node = NodeProto(node_id=1)

    def send(self, response: PullMessagesResponse, objects: dict[str, bytes]) -> Message | None:
        """What the site makes of it."""
        client: Any = self.fleet._client
        client.PullMessages = lambda _: response
        client.PullObject = lambda request: PullObjectResponse(
            object_found=True, object_available=True, object_content=objects.get(request.object_id, b"")
        )
        return self.fleet.pull()


def asked_by_fedavg() -> RecordDict:
    """A round as a stock strategy asks for it."""
    settings = RunSettings(recipe=Recipe.FEDAVG_MLP, rounds=1, evaluations=0)
    plan = make_plan(settings, load_contract("breast-cancer-wisconsin"))
    arrays = ArrayRecord(plan.model.unflatten(np.zeros(plan.model.n_parameters)))
    fields = {"run_id": RUN, "plan": plan.model_dump_json(), "server-round": 1}
    return RecordDict({"arrays": arrays, "fedpriv": ConfigRecord({**fields})})


@pytest.fixture(scope="module", params=[False, True], ids=["ours", "fedavg"])
def server(request: pytest.FixtureRequest) -> Server:
    return Server(request.param)


@share(0.5)
@given(seeds)
def test_a_site_takes_whatever_a_server_sends(server: Server, seed: int) -> None:
    COUNTS["inputs"] += 1
    random, app = Random(seed), SiteApp(Echo(), lambda _: None)
    response = PullMessagesResponse()
    objects = dict(server.objects)
    try:
        whole = server.answer.SerializeToString()
        response.ParseFromString(mutated(whole, random) if random.random() < 0.5 else whole)
    except Exception:
        return  # as in Fleet: no answer at all
    for object_id, content in server.objects.items():
        if random.random() < 0.5:
            objects[object_id] = random.choice((mutated(content, random), random.choice(SPECIAL)))
    if random.random() < 0.3:
        carriage.load(response, [random.choice((*objects.values(), *SPECIAL)) for _ in range(random.randrange(5))])
    with counted("Fleet.pull"):
        try:
            message = server.send(response, objects)
        except AbandonedError:
            return
        if message is not None:
            answer = app.run(message)
            if answer.has_error():  # to a stock strategy
                assert answer.error.reason in set(Refusal)
                return
            reply = answer.content["fedpriv"]
            assert isinstance(reply, ConfigRecord)
            assert Reply.from_fields(dict(reply)).code in {OK, *Refusal}


def random_tree(random: Random, ids: list[str], depth: int) -> ObjectTree:
    """Deep, wide, with the same object in several places, and in itself."""
    children = [random_tree(random, ids, depth - 1) for _ in range(random.randrange(4))] if depth else []
    return ObjectTree(object_id=random.choice(ids), children=children)


@share(0.25)
@given(seeds)
def test_a_site_takes_any_tree_of_objects(server: Server, seed: int) -> None:
    COUNTS["inputs"] += 1
    random = Random(seed)
    ids = [*server.objects, "", "0" * 64, "../x"]
    response = PullMessagesResponse()
    response.CopyFrom(server.answer)
    del response.message_object_trees[:]
    response.message_object_trees.append(random_tree(random, ids, random.randrange(8)))
    objects = {object_id: random.choice((*server.objects.values(), b"", *SPECIAL)) for object_id in ids}
    with counted("Fleet.pull"):
        try:
            server.send(response, objects)
        except AbandonedError:
            return


# -- what comes back from the bucket -----------------------------------------------------------------------------------

CHECKPOINT_RUN = run_info(RUN)
CHECKPOINT = encode_checkpoint(
    CHECKPOINT_RUN,
    Checkpoint(
        Iterate(
            round=3,
            parameters=np.zeros(CHECKPOINT_RUN.plan.model.n_parameters),
            centre=np.zeros(CHECKPOINT_RUN.plan.model.n_features),
            average=np.zeros(CHECKPOINT_RUN.plan.model.n_parameters),
            averaged=1,
        )
    ),
)


@fuzzing
@given(seeds)
def test_a_checkpoint_is_whole_or_a_value_error(seed: int) -> None:
    COUNTS["inputs"] += 1
    random = Random(seed)
    header = int.from_bytes(CHECKPOINT[:8], "little")
    if random.random() < 0.5:  # a changed head with its right length: the JSON is reached
        head = mutated(CHECKPOINT[8 : 8 + header], random)
        data = len(head).to_bytes(8, "little") + head + CHECKPOINT[8 + header :]
    else:
        data = mutated(CHECKPOINT, random)
    with counted("decode_checkpoint"):
        try:
            decoded = decode_checkpoint(CHECKPOINT_RUN, data)
        except ValueError:
            return
        assert decoded.iterate.parameters.shape == (CHECKPOINT_RUN.plan.model.n_parameters,)
