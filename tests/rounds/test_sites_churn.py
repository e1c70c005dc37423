"""Five sites of which two at a time are cut off, silent, slow or started again elsewhere: the run finishes, and its
model is made of exactly the replies that its rounds say they received."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load

from fedpriv_common import keys
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import EventKind, RoundClosed, RunInfo, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Operation, Reply, Request, decode_array, encode_array
from fedpriv_server.strategy import FloatArray, Iterate, make_strategy
from tests.integration.server_harness import LightSite, Server, running
from tests.integration.server_run.runs import events, read, started
from tests.rounds.far_sites import Far, far_sites, is_training, later

FIVE = tuple(f"site-{number}" for number in range(1, 6))
SETTINGS = RunSettings(sites=5, quorum=3, rounds=30, round_deadline_s=5.0, admission_deadline_s=30, evaluations=0)
SEED = 20_270_301
#: More than two sites at a time, and a round might end below its quorum.
AT_ONCE = 2


class Churn:
    """Disturbs one site after another, in an order that the seed gives, as the rounds go by."""

    def __init__(self, far: Far, seed: int) -> None:
        self._far, self._random, self._lock = far, random.Random(seed), threading.Lock()
        self.left = ["cut"] * 4 + ["move"] * 2 + ["silence", "slow"]
        self._random.shuffle(self.left)
        self._disturbed: set[str] = set()
        self._slow: str | None = None
        self._newest, self._advanced = 0, threading.Condition()
        for name, site in far.sites.items():
            site.behave = lambda request, name=name: self._behave(name, request)  # type: ignore[misc]

    def _behave(self, name: str, request: Request) -> Reply | None:
        if not is_training(request):
            return None
        with self._lock:
            self._disturbed.discard(name)
            if request.round > self._newest:
                with self._advanced:
                    self._newest = request.round
                    self._advanced.notify_all()
                self._disturb()
            slow, self._slow = name == self._slow, None if name == self._slow else self._slow
        if slow:
            with self._advanced:
                assert self._advanced.wait_for(lambda: self._newest > request.round, 30)
        return None

    def _disturb(self) -> None:
        if not self.left or len(self._disturbed) >= AT_ONCE:
            return
        name = self._random.choice([site for site in FIVE if site not in self._disturbed])
        self._disturbed.add(name)
        link = self._far.links[name]
        match self.left.pop():
            case "slow":
                self._slow = name
            case "move":
                self._far.move(name)
            case fault:
                getattr(link, fault)()
                later(self._random.uniform(0.5, 2.0), link.restore)


def recomputed(info: RunInfo, rounds: list[RoundClosed], sites: dict[str, LightSite]) -> FloatArray:
    """The model that the replies named in the rounds give."""
    iterate = Iterate.first(info.plan, hashlib.sha256(info.run_id.encode()).digest())
    strategy = make_strategy(info.plan)
    for closed in rounds:
        request = Request(
            operation=Operation.RELEASE,
            run_id=info.run_id,
            round=closed.round,
            phase=closed.phase,
            parameters=b"" if closed.phase is Phase.CENTRE else encode_array(iterate.parameters),
            centre=b"" if closed.phase is Phase.CENTRE else encode_array(iterate.centre),
        )
        payloads = [sites[site].payload(request) for site in closed.received]
        replies = [decode_array(payload, len(payload) // 8) for payload in payloads]
        if closed.phase is Phase.CENTRE:
            iterate = iterate.centred(info.plan, replies)
        else:
            iterate = iterate.trained(info.plan, strategy, replies)
    return iterate.published()


def test_sites_come_and_go_and_every_reply_counts_once_or_not_at_all(tmp_path: Path, object_store: ObjectStore) -> None:
    with (
        running(Server(tmp_path, object_store, sites=FIVE)) as server,
        far_sites(server, {name: LightSite(name) for name in FIVE}) as far,
    ):
        churn = Churn(far, SEED)
        status = server.finish(started(server, SETTINGS), 160)
        sites = far.sites
    assert status.state is RunState.FINISHED, server.log[-4000:]
    assert not churn.left, "every fault happened"

    run_id = status.run_id
    info = RunInfo.model_validate_json(read(object_store, keys.run_info(run_id)))
    rounds = [
        RoundClosed.model_validate_json(read(object_store, keys.round_closed(run_id, number)))
        for number in range(info.plan.rounds + 1)
    ]
    assert all(len(closed.received) >= 3 for closed in rounds)
    assert all(closed.expected == FIVE for closed in rounds), "who was missing is asked in the next round"
    assert any(len(closed.received) < 5 for closed in rounds), "without that, nothing was shown"
    published = load(read(object_store, keys.model(run_id)))["parameters"]
    assert np.array_equal(published, recomputed(info, rounds, sites))

    for site in sites.values():
        charged = defaultdict(set)
        for number, phase, digest in site.releases(run_id):
            charged[number, phase].add(digest)
        assert all(len(digests) == 1 for digests in charged.values()), f"{site.name} pays for each round once"

    happened = events(object_store, run_id)
    late = {(event.site, event.round) for event in happened if event.kind is EventKind.LATE_REPLY}
    assert late, "the slow site's reply was recorded"
    assert all(site not in rounds[number or 0].received for site, number in late), "and not used"
