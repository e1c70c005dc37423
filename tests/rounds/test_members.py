"""Whom a run asks, and who takes part, stays as it was when the server dies before its first round is in the bucket."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fedpriv_common import keys
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Reply
from tests.integration.server_harness import LightSite, Server, online, running
from tests.integration.test_server_faults import Trap, assert_asked_alike, started
from tests.waiting import until

SITES = ("site-1", "site-2", "site-3", "site-4")


@pytest.fixture
def server(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(Server(tmp_path_factory.mktemp("server"), store, sites=SITES)) as server:
        yield server


def come(server: Server, stack: ExitStack, *sites: LightSite) -> None:
    """Sites that are online, as soon as there is a server, until the stack ends."""
    for site in sites:
        folder = server.folder / "sites" / site.name
        stack.enter_context(online(site, server.hub, server.node_key(site.name), server.port, folder))


def seen(server: Server, *sites: LightSite) -> None:
    for site in sites:
        until(lambda site=site: f'"site_online", "site": "{site.name}"' in server.log, site.name)  # type: ignore[misc]


def test_a_run_goes_on_with_the_sites_that_it_asked_first(server: Server) -> None:
    """They hold a budget for it, or a person there looks at its plan, whoever else is on the allow-list."""
    first, second, third, fourth = (LightSite(name) for name in SITES)
    with ExitStack() as before:
        come(server, before, third, fourth)
        seen(server, third, fourth)
        fourth.behave = lambda _: Reply(code=Refusal.APPROVAL_NEEDED)
        run_id = started(server, RunSettings(sites=2, rounds=2, admission_deadline_s=30))
        until(lambda: third.asked and fourth.asked, "the plan's way to both")
        server.kill()
    fourth.behave = lambda _: None
    server.start()
    with ExitStack() as after:
        come(server, after, first, second)
        seen(server, first, second)
        come(server, after, third, fourth)
        status = server.finish(run_id)
    assert status.state is RunState.FINISHED
    assert [site.site for site in status.sites] == ["site-3", "site-4"]
    assert first.asked == second.asked == []


def test_a_site_that_missed_the_admission_is_not_drawn_in_by_a_crash(server: Server, store: ObjectStore) -> None:
    """With it the centring would come out differently, and the others have charged a round that followed on it."""
    sites = {name: LightSite(name) for name in SITES[:3]}
    first, second, late = sites.values()
    with ExitStack() as stack:
        come(server, stack, first, second)
        seen(server, first, second)
        trap = Trap(first, 1)
        run_id = started(server, RunSettings(sites=3, quorum=2, rounds=2, admission_deadline_s=2))
        trap.wait()
        until(lambda: store.get(keys.round_closed(run_id, 0)), "round 0 in the bucket")
        server.kill()
        trap.go_on.set()
        shutil.rmtree(server.folder / "state")
        for folder in ("checkpoints", "records", "rounds"):  # as if the bucket had lagged behind
            for key in store.list_keys(f"{keys.run_prefix(run_id)}{folder}/"):
                store.client.delete_object(Bucket=store.bucket, Key=key)
        come(server, stack, late)
        server.start()
        status = server.finish(run_id)
    assert_asked_alike(sites, run_id)
    assert (status.state, status.round) == (RunState.FINISHED, 2)
    assert late.releases(run_id) == []
