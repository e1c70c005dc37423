"""A site that waits for a person: the server asks again until the deadline, and shows what it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fedpriv_common import keys
from fedpriv_common.errors import Refusal
from fedpriv_common.records import Admission, EndCause, EventKind, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request
from fedpriv_server.status import RunStatus
from tests.integration.server_harness import LightSite, Server
from tests.integration.server_run.runs import SHORT, events, ran, read, started
from tests.waiting import until


def waits_for(granted: threading.Event) -> Callable[[Request], Reply | None]:
    """A site whose policy wants an approval."""

    def behave(request: Request) -> Reply | None:
        if request.operation is Operation.ADMIT and not granted.is_set():
            return Reply(code=Refusal.APPROVAL_NEEDED)
        return None

    return behave


def codes(status: RunStatus) -> dict[str, str | None]:
    return {site.site: site.code for site in status.sites}


def test_a_run_waits_for_an_approval_and_goes_on_with_it(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    granted = threading.Event()
    sites["site-2"].behave = waits_for(granted)
    before = len(sites["site-2"].asked)
    run_id = started(server)

    def waiting() -> bool:
        (status,) = (status for status in server.client.runs() if status.run_id == run_id)
        return codes(status) == {"site-1": "OK", "site-2": "APPROVAL_NEEDED", "site-3": "OK"}

    until(waiting, "the status that says what is waited for")
    granted.set()
    status = server.finish(run_id)
    assert (status.state, status.cause) == (RunState.FINISHED, EndCause.COMPLETE)
    admission = Admission.model_validate_json(read(store, keys.admission(run_id, "site-2")))
    assert admission.code == "OK"
    asked = [request for request in sites["site-2"].asked[before:] if request.operation is Operation.ADMIT]
    assert len(asked) == 2
    assert asked[0].plan == asked[1].plan
    others = [request for request in sites["site-1"].asked if request.run_id == run_id]
    assert sum(request.operation is Operation.ADMIT for request in others) == 1, "who answered is not asked twice"
    assert [event.kind for event in events(store, run_id)] == [EventKind.AWAITING_APPROVAL]


def test_a_run_that_nobody_approves_ends_at_its_deadline_and_is_called_off_at_the_site(
    server: Server, store: ObjectStore, sites: dict[str, LightSite]
) -> None:
    sites["site-2"].behave = waits_for(threading.Event())
    status = ran(server, SHORT.model_copy(update={"admission_deadline_s": 0.5}))
    assert (status.state, status.cause, status.round) == (RunState.HALTED, EndCause.DEADLINE, 0)
    admission = Admission.model_validate_json(read(store, keys.admission(status.run_id, "site-2")))
    assert (admission.code, admission.facts) == ("APPROVAL_NEEDED", None)
    assert sites["site-2"].asked[-1].operation is Operation.CLOSE, "it need not keep the request for a person"
    assert not sites["site-1"].releases(status.run_id)
