"""Only what its key says it is gets into the index."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fedpriv_common import keys
from fedpriv_common.objects import MalformedObjectError, kind_of, parse
from fedpriv_common.plan import Phase
from tests.run_writer import encode, run_steps
from tests.unit.metrics.scripted import RUN, parsed

RECORD = keys.record(RUN, 1, "site-1", Phase.TRAIN)
BODIES = {key: body for _, objects in run_steps(RUN) for key, body in encode(objects).items()}


@pytest.mark.parametrize(
    "change",
    [
        {"round": 2},
        {"site": "site-2"},
        {"run_id": "01KE6P4YM0NX0H6Y9J2BQG34G6"},
        {"schema_version": "2.0"},
        {"provenance": "private"},
        {"metrics": {"accuracy": "high"}},
        {"surprise": 1},
        {"round": 10**9},
    ],
    ids=str,
)
def test_a_record_that_is_not_what_its_key_says_is_malformed(change: dict[str, Any]) -> None:
    body = json.dumps(json.loads(BODIES[RECORD]) | change).encode()
    with pytest.raises(MalformedObjectError):
        parse(RECORD, RUN, body)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"null", b"[]"], ids=repr)
def test_what_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedObjectError):
        parse(RECORD, RUN, body)


def test_the_message_does_not_quote_the_content() -> None:
    body = json.dumps(json.loads(BODIES[RECORD]) | {"site": "SECRET NAME"}).encode()
    with pytest.raises(MalformedObjectError) as error:
        parse(RECORD, RUN, body)
    assert "SECRET" not in str(error.value)


def test_models_checkpoints_and_statements_are_not_read() -> None:
    for key in (keys.checkpoint(RUN, 3), keys.model(RUN), keys.statement(RUN)):
        assert kind_of(key, RUN) is None


def test_objects_sort_as_they_are_written_even_when_they_carry_one_time() -> None:
    written = parsed()
    assert sorted(written, key=lambda entry: entry.order) == written
    at = written[0].at
    same_time = [type(entry)(entry.key, at, entry.value) for entry in written if "/000003" in entry.key]
    assert [entry.key for entry in sorted(same_time, key=lambda entry: entry.order)] == [
        keys.record(RUN, 3, "site-1", Phase.TRAIN),
        keys.record(RUN, 3, "site-2", Phase.TRAIN),
        keys.record(RUN, 3, "site-3", Phase.TRAIN),
        keys.record(RUN, 3, "global", Phase.EVALUATE),
        keys.round_closed(RUN, 3),
    ]
