"""Sites that are hostile, late, silent, declining or unknown: the run is what the others make it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import load

from fedpriv_common import keys
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.records import (
    Admission,
    EndCause,
    EventKind,
    RoundClosed,
    RunEnd,
    RunState,
)
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request, encode_array
from fedpriv_server.strategy import FloatArray
from tests.integration.server_harness import LightSite, Server, online
from tests.integration.server_run.runs import SHORT, events, ran, read, waiting
from tests.waiting import until


def hostile(payload: Callable[[bytes], bytes]) -> Callable[[LightSite], Callable[[Request], Reply | None]]:
    """A site that changes what it sends in training."""

    def of(site: LightSite) -> Callable[[Request], Reply | None]:
        def behave(request: Request) -> Reply | None:
            if request.operation is not Operation.RELEASE or request.phase is not Phase.TRAIN:
                return None
            honest = site.answer(request)
            return Reply(code="OK", payload=payload(honest.payload), facts=honest.facts)

        return behave

    return of


def with_facts(**changes: object) -> Callable[[LightSite], Callable[[Request], Reply | None]]:
    """A site that lies about its budget in training."""

    def of(site: LightSite) -> Callable[[Request], Reply | None]:
        def behave(request: Request) -> Reply | None:
            if request.operation is not Operation.RELEASE or request.phase is not Phase.TRAIN:
                return None
            honest = site.answer(request)
            assert honest.facts is not None
            return Reply(code="OK", payload=honest.payload, facts=honest.facts.model_copy(update=changes))

        return behave

    return of


TWO_OF_THREE = SHORT.model_copy(update={"quorum": 2, "rounds": 2})


@pytest.fixture(scope="module")
def without_third(server: Server, store: ObjectStore, all_sites: dict[str, LightSite]) -> FloatArray:
    """The parameters that a run reaches when the third site takes part in centring only."""
    third = all_sites["site-3"]
    third.behave = lambda request: Reply(code=Refusal.INTERNAL) if request.phase is Phase.TRAIN else None
    status = ran(server, TWO_OF_THREE)
    assert status.state is RunState.FINISHED
    third.behave = lambda _: None
    parameters: FloatArray = load(read(store, keys.model(status.run_id)))["parameters"]
    return parameters


@pytest.mark.parametrize(
    "behaviour",
    [
        hostile(lambda honest: honest[:-8]),
        hostile(lambda honest: b""),
        hostile(lambda honest: honest * 1000),
        hostile(lambda honest: honest * 300),
        hostile(lambda honest: encode_array(np.full(len(honest) // 8, np.nan))),
        hostile(lambda honest: encode_array(np.full(len(honest) // 8, -np.inf))),
        hostile(lambda honest: encode_array(np.full(len(honest) // 8, 1e300))),
        lambda _: lambda request: Reply(code="I_AM_ROOT") if request.phase is Phase.TRAIN else None,
        lambda site: lambda request: (
            Reply(code="OK", payload=site.payload(request)) if request.phase is Phase.TRAIN else None
        ),
        with_facts(dataset="../../model"),
        with_facts(ledger_seq=-1),
        with_facts(ledger_seq=10**15),
        with_facts(ledger_head="short"),
        with_facts(epsilon_spent=-1.0),
    ],
    ids=[
        "too short", "empty", "too long", "long", "nan", "inf", "1e300", "unknown code", "no facts",
        "another data set", "no entry", "ledger far ahead", "no digest", "negative epsilon",
    ],
)  # fmt: skip
def test_a_hostile_reply_is_recorded_and_changes_nothing(
    server: Server,
    store: ObjectStore,
    sites: dict[str, LightSite],
    without_third: FloatArray,
    behaviour: Callable[[LightSite], Callable[[Request], Reply | None]],
) -> None:
    sites["site-3"].behave = behaviour(sites["site-3"])
    status = ran(server, TWO_OF_THREE)
    assert (status.state, status.cause) == (RunState.FINISHED, EndCause.COMPLETE)
    bad = [event for event in events(store, status.run_id) if event.kind is EventKind.BAD_REPLY]
    assert [(event.site, event.round) for event in bad] == [("site-3", 1), ("site-3", 2)]
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, 2)))
    assert closed.received == ("site-1", "site-2")
    tensors = load(read(store, keys.model(status.run_id)))
    assert np.isfinite(tensors["parameters"]).all()

    assert np.array_equal(tensors["parameters"], without_third), "as if the site had not answered"


@pytest.mark.parametrize("behind", [1, 0], ids=["went back", "forked"])
def test_a_ledger_that_cannot_follow_what_the_witness_saw_counts_as_refused_for_that_reason(
    server: Server, store: ObjectStore, sites: dict[str, LightSite], without_third: FloatArray, behind: int
) -> None:
    """The site answers as if that were nothing; its own ledger should have refused."""
    site = sites["site-3"]

    def behave(request: Request) -> Reply | None:
        if request.operation is Operation.ADMIT or (request.operation is Operation.RELEASE and request.round == 0):
            return None
        honest = site.answer(request)
        assert honest.facts is not None
        told = {"ledger_seq": request.witness_seq - behind, "ledger_head": "f" * 64}
        return Reply(code="OK", payload=honest.payload, facts=honest.facts.model_copy(update=told))

    site.behave = behave
    status = ran(server, TWO_OF_THREE)
    assert (status.state, status.cause) == (RunState.FINISHED, EndCause.COMPLETE)
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, 1)))
    assert closed.refused == {"site-3": "LEDGER_ROLLED_BACK"}
    assert {it.site: it.code for it in status.sites}["site-3"] == "LEDGER_ROLLED_BACK"
    assert np.array_equal(load(read(store, keys.model(status.run_id)))["parameters"], without_third)


def test_below_quorum_after_a_hostile_reply_the_run_halts_and_keeps_its_last_model(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    site = sites["site-1"]
    site.behave = lambda request: (
        Reply(code="OK", payload=b"", facts=site.facts(request))
        if request.operation is Operation.RELEASE and request.round == 3
        else None
    )
    status = ran(server)
    assert (status.state, status.cause, status.round) == (RunState.HALTED, EndCause.QUORUM, 2)
    assert load(read(store, keys.model(status.run_id)))["parameters"].any()
    end = RunEnd.model_validate_json(read(store, keys.run_end(status.run_id)))
    assert end.model_digest == sha256_hex(read(store, keys.model(status.run_id)))


@pytest.mark.parametrize(
    "code, cause",
    [(Refusal.BUDGET_EXHAUSTED, EndCause.BUDGET), (Refusal.POLICY_REFUSED, EndCause.REFUSED)],
)
def test_a_plan_that_a_site_declines_is_halted_at_once_with_the_cause(
    server: Server, store: ObjectStore, sites: dict[str, LightSite], code: Refusal, cause: EndCause
) -> None:
    sites["site-2"].behave = lambda request: Reply(code=code) if request.operation is Operation.ADMIT else None
    status = ran(server)
    assert (status.state, status.cause, status.round, status.model) == (RunState.HALTED, cause, 0, None)
    admission = Admission.model_validate_json(read(store, keys.admission(status.run_id, "site-2")))
    assert (admission.code, admission.facts) == (code, None)
    until(lambda: sites["site-1"].asked[-1].operation is Operation.CLOSE, "the close at the sites that were admitted")
    assert not sites["site-1"].releases(status.run_id), "nothing was asked of anyone"


def test_a_site_that_declines_in_the_middle_is_asked_no_more(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    sites["site-2"].behave = lambda request: (
        Reply(code=Refusal.POLICY_REFUSED) if request.operation is Operation.RELEASE and request.round == 2 else None
    )
    status = ran(server, SHORT.model_copy(update={"quorum": 2}))
    assert status.state is RunState.FINISHED
    closed = [RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, n))) for n in (2, 3)]
    assert closed[0].refused == {"site-2": "POLICY_REFUSED"}
    assert closed[1].expected == ("site-1", "site-3")
    assert [number for number, _, _ in sites["site-2"].releases(status.run_id)] == [0, 1, 2]
    assert sites["site-2"].asked[-1].operation is Operation.CLOSE, "it holds the rounds that it was not asked for"


def test_a_run_that_needs_a_site_waits_until_its_ledger_can_be_written_again(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    full = [Operation.ADMIT, Operation.RELEASE]

    def once_each(request: Request) -> Reply | None:
        if request.operation not in full:
            return None
        full.remove(request.operation)
        return Reply(code=Refusal.LEDGER_UNAVAILABLE)

    sites["site-2"].behave = once_each
    status = ran(server)
    assert status.state is RunState.FINISHED
    centred = [digest for number, _, digest in sites["site-2"].releases(status.run_id) if number == 0]
    assert len(centred) == 2
    assert len(set(centred)) == 1, "the same question, so that what was reserved serves it"
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, 0)))
    assert (closed.refused, closed.received) == ({}, ("site-1", "site-2", "site-3"))
    assert not events(store, status.run_id), "nobody is asked for an approval"


def test_a_site_that_cannot_write_its_ledger_holds_up_no_quorum_and_is_asked_in_the_next_round(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    sites["site-2"].behave = lambda request: (
        Reply(code=Refusal.LEDGER_UNAVAILABLE)
        if request.operation is Operation.RELEASE and request.round == 2
        else None
    )
    status = ran(server, SHORT.model_copy(update={"quorum": 2, "round_deadline_s": 300.0}))
    assert status.state is RunState.FINISHED
    closed = [RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, n))) for n in (2, 3)]
    assert closed[0].refused == {"site-2": "LEDGER_UNAVAILABLE"}
    assert closed[1].received == ("site-1", "site-2", "site-3")


def test_a_reply_after_the_deadline_is_late_and_the_round_went_on_without_it(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    sites["site-3"].behave = waiting(2, reached, go_on)
    sites["site-1"].behave = lambda request: go_on.set() if request.round == 3 else None
    status = ran(server, SHORT.model_copy(update={"quorum": 2, "round_deadline_s": 1.0}))
    assert status.state is RunState.FINISHED
    late = [event for event in events(store, status.run_id) if event.kind is EventKind.LATE_REPLY]
    assert [(event.site, event.round) for event in late] == [("site-3", 2)]
    closed = RoundClosed.model_validate_json(read(store, keys.round_closed(status.run_id, 2)))
    assert closed.received == ("site-1", "site-2")
    assert closed.duration_ms >= 1000


def test_sites_that_do_not_answer_halt_the_run_at_the_admission_deadline(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    go_on = threading.Event()

    def held(request: Request) -> Reply | None:
        assert request.operation is not Operation.ADMIT or go_on.wait(30)
        return None

    sites["site-3"].behave = held
    sites["site-1"].behave = lambda request: go_on.set() if request.operation is Operation.CLOSE else None
    status = ran(server, SHORT.model_copy(update={"admission_deadline_s": 0.5}))
    assert (status.state, status.cause) == (RunState.HALTED, EndCause.QUORUM)
    assert sites["site-3"].asked[-1].operation is Operation.CLOSE, "what it admits too late is closed, too"
    assert [event.kind for event in events(store, status.run_id)] == [EventKind.LATE_REPLY]


def test_a_key_that_is_not_on_the_allow_list_gets_nothing(server: Server, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    stranger = ec.generate_private_key(ec.SECP256R1())
    key = tmp_path / "stranger.key"
    key.write_bytes(stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    site = LightSite("stranger")
    before = server.log.count("FLEET_NODE_ACTIVATION_FAILED") + server.log.count("could not be activated")
    with online(site, server.hub, key, server.port, tmp_path / "state"):
        refused = "No SuperNode found with the given public key"
        until(lambda: server.log.count(refused) > before, "the refusal of the key")
    assert not site.asked
