"""Following a run bears with a server that does not answer for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.records import EndCause, RunState
from fedpriv_server.operator_client import OperatorClient
from fedpriv_server.status import Problem, RunStatus

ENDED = RunStatus(
    run_id="01J9ZZZZZZZZZZZZZZZZZZZZZZ",
    name="a",
    state=RunState.FINISHED,
    cause=EndCause.COMPLETE,
    created_at=datetime(2027, 3, 1, tzinfo=UTC),
    epsilon=1.0,
    delta=1e-5,
    round=3,
    rounds=3,
    metrics={},
    sites=(),
    median_round_ms=None,
    elapsed_s=1.0,
    model=None,
)


def refusal(status: int, code: ErrorCode) -> tuple[int, bytes]:
    problem = Problem(title="no", status=status, detail="Not now.", code=code)
    return status, problem.model_dump_json().encode()


@contextmanager
def answering(*answers: tuple[int, bytes]) -> Iterator[OperatorClient]:
    """A client of a server that gives these answers, one after another."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield OperatorClient(f"http://127.0.0.1:{server.server_address[1]}", "key")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.mark.parametrize("code", [ErrorCode.RATE_LIMITED, ErrorCode.STORE_UNAVAILABLE])
def test_what_passes_is_waited_for(code: ErrorCode) -> None:
    with answering(refusal(503, code), (200, ENDED.model_dump_json().encode())) as client:
        assert list(client.follow(ENDED.run_id)) == [ENDED]


def test_what_does_not_pass_ends_it() -> None:
    with answering(refusal(404, ErrorCode.RUN_REFUSED)) as client, pytest.raises(FedprivError, match="Not now"):
        list(client.follow(ENDED.run_id))
