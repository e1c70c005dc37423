"""A checkpoint gives back bit by bit what it was made of, and takes nothing else for one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load, save

from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, RunSettings, make_plan
from fedpriv_common.records import RoundClosed, RunInfo
from fedpriv_server.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint, encode_model, read_metadata
from fedpriv_server.strategy import Iterate, make_strategy

CONTRACT = load_contract("breast-cancer-wisconsin")
PLAN = make_plan(RunSettings(), CONTRACT)


def run_info(run_id: str) -> RunInfo:
    return RunInfo(
        run_id=run_id,
        created_at=datetime(2026, 1, 5, tzinfo=UTC),
        settings=RunSettings(),
        plan=PLAN,
        plan_digest=PLAN.digest(),
        public_validation=None,
    )


RUN = run_info("01J9ZZZZZZZZZZZZZZZZZZZZZZ")
finite = st.floats(allow_nan=False, allow_infinity=False)
iterates = st.builds(
    Iterate,
    round=st.integers(0, 13),
    parameters=arrays(np.float64, 31, elements=finite),
    centre=arrays(np.float64, 30, elements=finite),
    average=arrays(np.float64, 31, elements=finite),
    averaged=st.integers(0, 7),
)


CLOSED = RoundClosed(
    run_id=RUN.run_id,
    round=4,
    phase=Phase.TRAIN,
    closed_at=datetime(2026, 1, 5, 12, 30, 1, 250_000, tzinfo=UTC),
    expected=("site-1", "site-2"),
    received=("site-1",),
    refused={"site-2": "LEDGER_UNAVAILABLE"},
    duration_ms=12.5,
)
checkpoints = st.builds(
    Checkpoint,
    iterate=iterates,
    closed=st.sampled_from([None, CLOSED]),
    declined=st.dictionaries(st.sampled_from(["site-1", "site-2"]), st.sampled_from(["INTERNAL", "RUN_CLOSED"])),
)


@given(checkpoints)
def test_a_checkpoint_comes_back_bit_by_bit_and_always_as_the_same_bytes(checkpoint: Checkpoint) -> None:
    data = encode_checkpoint(RUN, checkpoint)
    read = decode_checkpoint(RUN, data)
    assert (read.closed, read.declined) == (checkpoint.closed, checkpoint.declined)
    iterate, back = checkpoint.iterate, read.iterate
    assert (back.round, back.averaged) == (iterate.round, iterate.averaged)
    for name in ("parameters", "centre", "average"):
        assert getattr(back, name).tobytes() == getattr(iterate, name).tobytes()
    assert encode_checkpoint(RUN, read) == data


@given(st.binary(max_size=300))
def test_bytes_that_are_no_checkpoint_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="checkpoint"):
        decode_checkpoint(RUN, data)


def test_a_checkpoint_that_was_cut_or_belongs_to_another_run_or_is_not_finite_is_refused() -> None:
    first = Iterate.first(PLAN, b"seed")
    data = encode_checkpoint(RUN, Checkpoint(first))
    with pytest.raises(ValueError, match="not a checkpoint"):
        decode_checkpoint(RUN, data[:-1])
    with pytest.raises(ValueError, match="belongs to run"):
        decode_checkpoint(run_info("01J9ZZZZZZZZZZZZZZZZZZZZZY"), data)
    broken = Iterate(0, np.full(31, np.nan), first.centre, first.average)
    with pytest.raises(ValueError, match="not those of the plan's model"):
        decode_checkpoint(RUN, encode_checkpoint(RUN, Checkpoint(broken)))
    short = Checkpoint(Iterate(0, np.zeros(5), first.centre, first.average))
    with pytest.raises(ValueError, match="not those of the plan's model"):
        decode_checkpoint(RUN, encode_checkpoint(RUN, short))
    with pytest.raises(ValueError, match="not a checkpoint"):
        decode_checkpoint(RUN, save({"parameters": np.zeros(31)}))


@given(iterates)
def test_the_published_model_says_what_it_is(iterate: Iterate) -> None:
    data = encode_model(RUN, iterate, CONTRACT)
    tensors, metadata = load(data), read_metadata(data)
    assert np.array_equal(tensors["parameters"], iterate.published())
    assert np.array_equal(tensors["centre"], iterate.centre)
    assert metadata["run_id"] == RUN.run_id
    assert metadata["contract_digest"] == CONTRACT.digest()
    assert metadata["model"]["kind"] == "logreg"


ADAM = make_plan(RunSettings(strategy="fedadam"), CONTRACT)
ADAM_RUN = RUN.model_copy(update={"plan": ADAM, "plan_digest": ADAM.digest()})


@given(st.integers(0, 2**32 - 1), st.integers(0, 13))
def test_a_run_of_fedadam_goes_on_from_any_checkpoint_as_if_it_had_never_stopped(seed: int, stop: int) -> None:
    strategy, straight = make_strategy(ADAM), Iterate.first(ADAM, b"seed")
    stopped, generator = straight, np.random.default_rng(seed)
    for number in range(13):
        if number == stop:
            stopped = decode_checkpoint(ADAM_RUN, encode_checkpoint(ADAM_RUN, Checkpoint(stopped))).iterate
        replies = list(generator.normal(size=(3, 31)))
        straight = straight.trained(ADAM, strategy, replies)
        stopped = stopped.trained(ADAM, strategy, replies)
    assert encode_checkpoint(ADAM_RUN, Checkpoint(stopped)) == encode_checkpoint(ADAM_RUN, Checkpoint(straight))


def test_a_checkpoint_without_the_moments_that_fedadam_had_is_refused() -> None:
    iterate = Iterate.first(ADAM, b"seed")
    assert decode_checkpoint(ADAM_RUN, encode_checkpoint(ADAM_RUN, Checkpoint(iterate))).iterate.memory == ()
    after = iterate.trained(ADAM, make_strategy(ADAM), [np.ones(31)])
    for memory in ((), after.memory[:1], (np.zeros(5), np.zeros(5))):
        with pytest.raises(ValueError, match="lacks what fedadam remembers"):
            decode_checkpoint(ADAM_RUN, encode_checkpoint(ADAM_RUN, Checkpoint(replace(after, memory=memory))))
    with pytest.raises(ValueError, match="lacks what fedsgd remembers"):
        decode_checkpoint(RUN, encode_checkpoint(RUN, Checkpoint(after)))
