"""kill -9 at any moment of (admit, reserve, train, commit, send, ack), and the site started again, until the run ends.

If this failed, a site that loses power could send what its ledger does not hold, answer one question with two noises
(which average out), forget what it has spent, or come back with a ledger that it cannot use.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_client.privacy.ledger.location import parse_location
from fedpriv_client.privacy.ledger.opening import open_ledger
from fedpriv_common.accounting import epsilon, gaussian_epsilon
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import OK, Operation, Reply, Request, decode_array, encode_array
from tests.privacy.mortal_site import SITE_STAGES, Child, MortalSite, Stage, mortal_site
from tests.waiting import until

BUILT_IN = "breast-cancer-wisconsin"
DELTA = 1e-5
#: Slow enough that SEND, which waits for the public time of an answer, lasts as long as other stages do.
SETTINGS = RunSettings(sites=1, evaluations=2, min_reply_ms=20)
POLICY = "held_out_share: 0.2\n"
#: Kills that each stage gets at least, and the runs that the held-out records' budget pays.
LEAST, MOST_RUNS = 3, 8
#: The stages that a request goes through.
PASSES = {
    Operation.ADMIT: (Stage.ADMIT, Stage.SEND, Stage.ACK),
    Operation.RELEASE: (Stage.RESERVE, Stage.TRAIN, Stage.COMMIT, Stage.SEND, Stage.ACK),
    Operation.CLOSE: (Stage.COMMIT, Stage.SEND, Stage.ACK),
}
Key = tuple[str, int, Phase]


@dataclass
class Observer:
    """Sees every reply that ever leaves the site, and keeps all of them."""

    plan: Plan
    seen: dict[Key, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    head: tuple[int, str] = (-1, "")

    def take(self, request: Request, reply: Reply) -> None:
        """A reply, asked for or not."""
        assert reply.code == OK
        assert reply.facts is not None
        self.head = max(self.head, (reply.facts.ledger_seq, reply.facts.ledger_head))
        if request.operation is Operation.RELEASE:
            self.seen[(request.run_id, request.round, request.phase)].add(reply.payload)

    def epsilon(self) -> tuple[float, float]:
        """Of the training records and of the held-out ones, by the closed forms. Every different payload counts."""
        counts: Counter[Phase] = Counter()
        for (_, _, phase), payloads in self.seen.items():
            counts[phase] += len(payloads)
        releases = [release for release in (self.plan.centre, self.plan.train) if release is not None]
        mu_squared = sum(counts[release.phase] / release.noise_multiplier**2 for release in releases)
        assert self.plan.evaluate is not None
        return gaussian_epsilon(mu_squared**0.5, DELTA), counts[Phase.EVALUATE] * self.plan.evaluate.epsilon


class Books:
    """The site's ledger, read as an auditor would: by opening it anew."""

    def __init__(self, settings: dict[str, str]) -> None:
        places = [settings[f"FEDPRIV_LEDGER{name}"].replace("{partition}", "0") for name in ("", "_MARKER")]
        self._where = [parse_location(place) for place in places]
        self._charges = 0

    def check(self, observer: Observer) -> None:
        """The chain verifies, nothing was refunded, and all that was seen is in it, charged in full."""
        with open_ledger(*self._where).reading() as history:
            charges = list(history.charges())
            spent, held_out = epsilon(history.charged(), DELTA), history.held_out_epsilon()
        assert len(charges) >= self._charges, "a reservation was refunded"
        self._charges = len(charges)
        committed = {(it.run_id, it.round, it.phase): it.reply_digest for it in charges if it.state == "committed"}
        for key, payloads in observer.seen.items():
            assert {sha256_hex(payload) for payload in payloads} == {committed[key]}, f"{key} left uncommitted or twice"
        seen, seen_of_held_out = observer.epsilon()
        assert seen <= spent
        assert seen_of_held_out <= held_out * (1 + 1e-12)

    def closed(self, run_id: str) -> bool:
        """Whether a run is closed, with every release committed."""
        with open_ledger(*self._where).reading() as history:
            run = history.runs[run_id]
            return run.closed and all(it.state == "committed" for it in history.charges() if it.run_id == run_id)


class Server:
    """Asks a site for whole runs, and kills it `kills` times in all while it answers."""

    def __init__(self, plan: Plan, site: MortalSite, books: Books, kills: int, token: int | None = None) -> None:
        self.observer = Observer(plan)
        self.hits: Counter[Stage] = Counter()
        #: What came of the requests during which the site died.
        self.outcomes: Counter[str] = Counter()
        self._plan, self._site, self._books, self._kills, self._token = plan, site, books, kills, token
        #: Seconds that each stage has lasted, each time that nothing was killed.
        self._lengths: dict[Stage, list[float]] = defaultdict(list)
        self._child = self._start()

    @property
    def done(self) -> bool:
        """Whether there were enough kills, and enough in each stage."""
        return self.hits.total() >= self._kills and min(self.hits[stage] for stage in SITE_STAGES) >= LEAST

    def run(self, kill: bool) -> str:
        """One run from its admission to its end; the run's id."""
        run_id = secrets.token_hex(13).upper()
        for request, use in requests_of(self._plan, run_id):
            seq, head = self.observer.head
            asked = replace(request, witness_seq=seq, witness_head=head)
            times = 12 if request.operation is Operation.ADMIT else random.randint(1, 3)
            for _ in range(times if kill else 0):
                # The stage that was hit least often of those that the request goes through.
                stage = min(PASSES[request.operation], key=lambda each: (self.hits[each], random.random()))
                if self.hits.total() < self._kills or self.hits[stage] < LEAST:
                    self._ask_and_kill(asked, stage)
            use(self._ask(asked))
        return run_id

    def _start(self) -> Child:
        if self._token is not None:
            self._token += 1
        return self._site.start(self._token)

    def _ask(self, request: Request) -> Reply:
        """Ask and acknowledge, watching how long each stage lasts."""
        self._child.ask(request)
        began, stage = time.perf_counter(), Stage.START
        while not self._child.connection.poll(0.0002):
            if (now := self._site.stage) is not stage:
                self._lengths[stage].append(time.perf_counter() - began)
                began, stage = time.perf_counter(), now
        self._lengths[stage].append(time.perf_counter() - began)
        reply = self._child.reply()
        assert reply is not None, self._site.log.read_text()
        self.observer.take(request, reply)
        self._child.acknowledge()
        return reply

    def _ask_and_kill(self, request: Request, stage: Stage) -> None:
        """Ask, wait for the stage and then a random part of what it lasts, and kill."""
        child = self._child
        child.ask(request)
        until(lambda: self._site.stage >= stage, f"stage {stage.name}", tick_s=0.0002)
        lasted = self._lengths[stage] or [0.001]
        # Also early on: an admission, once it is durable, is over in no time when it is asked for again.
        time.sleep(random.uniform(0, random.choice((min(lasted) / 2, random.choice(lasted)))))
        child.kill()
        self.hits[self._site.stage] += 1
        reply = child.reply()
        self.outcomes["nothing left" if reply is None else "the reply had left"] += 1
        if reply is not None:
            self.observer.take(request, reply)
        self._books.check(self.observer)
        self._child = self._start()


def requests_of(plan: Plan, run_id: str) -> Iterator[tuple[Request, Callable[[Reply], None]]]:
    """A server's requests of one run, each with what it does with the answer."""
    assert plan.evaluate is not None
    digest = plan.digest()
    parameters, centre = np.zeros(plan.model.n_parameters), np.zeros(plan.model.n_features)

    def release(number: int, phase: Phase) -> Request:
        arrays = (
            {} if phase is Phase.CENTRE else {"parameters": encode_array(parameters), "centre": encode_array(centre)}
        )
        return Request(
            operation=Operation.RELEASE, run_id=run_id, plan_digest=digest, round=number, phase=phase, **arrays
        )

    def centred(reply: Reply) -> None:
        centre[:] = decode_array(reply.payload, plan.model.n_features) / plan.nominal_size

    def stepped(reply: Reply) -> None:
        parameters[:] -= decode_array(reply.payload, plan.model.n_parameters) / plan.nominal_size

    yield (
        Request(operation=Operation.ADMIT, run_id=run_id, plan=plan.model_dump_json(), plan_digest=digest),
        lambda _: None,
    )
    yield release(0, Phase.CENTRE), centred
    for number in range(1, plan.rounds + 1):
        yield release(number, Phase.TRAIN), stepped
        if number in plan.evaluate.at:
            yield release(number, Phase.EVALUATE), lambda _: None
    yield Request(operation=Operation.CLOSE, run_id=run_id), lambda _: None


def provision(folder: Path, **places: str) -> dict[str, str]:
    """A site that may be started: its settings."""
    records, _ = write_files(folder)
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:121]))  # a start reads all of it
    policy, site_key = folder / "policy.yaml", folder / "site.key"
    policy.write_text(POLICY)
    where = {"ledger": str(folder / "ledger.db"), "marker": str(folder / "marker.json")} | places
    init_ledger(
        where["ledger"],
        where["marker"],
        BUILT_IN,
        site_key,
        policy=policy,
        kms_key=where.get("kms_key"),
    )
    settings = {
        "site": "site-{partition}",
        "server": "hub:8080",
        "ca": folder / "ca.pem",
        "node_key": folder / "node.{partition}.key",
        "contract": BUILT_IN,
        "data": records,
        "policy": policy,
        "ledger": where["ledger"],
        "ledger_marker": where["marker"],
        "site_key": site_key,
        "state_dir": folder / "state-{partition}",
    }
    if "kms_key" in where:
        settings |= {"ledger_kms_key": where["kms_key"], "lease_table": "leases"}
    return {f"FEDPRIV_{name.upper()}": str(value) for name, value in settings.items()}


def report(what: str, server: Server, seconds: float) -> None:
    stages = ", ".join(f"{stage.name.lower()} {server.hits[stage]}" for stage in Stage)
    outcomes = ", ".join(f"{count} × {outcome}" for outcome, count in server.outcomes.items())
    print(f"{what}: {server.hits.total()} kills in {seconds:.0f} s ({stages}); {outcomes}")


def under_fire(
    folder: Path, run: RunSettings, settings: dict[str, str], kills: int, token: int | None = None
) -> Server:
    """A run without a kill, to learn how long stages last, and then as many as it takes for `kills`."""
    plan = make_plan(run, load_contract(BUILT_IN))
    started = time.monotonic()
    with mortal_site(folder / "processes", settings) as site:
        books = Books(settings)
        server = Server(plan, site, books, kills, token)
        runs = [server.run(kill=False)]
        while not server.done:
            assert len(runs) < MOST_RUNS, f"not every stage was hit: {server.hits}"
            runs.append(server.run(kill=True))
        assert all(books.closed(run_id) for run_id in runs), "a run did not end"
    books.check(server.observer)
    assert len(server.observer.seen) == len(runs) * (1 + plan.rounds + 2)
    report("SQLite" if token is None else "S3", server, time.monotonic() - started)
    return server


@pytest.mark.timeout(300)
def test_a_site_that_is_killed_two_hundred_times_sends_what_it_committed_and_forgets_nothing(tmp_path: Path) -> None:
    server = under_fire(tmp_path, SETTINGS, provision(tmp_path), kills=200)
    assert len(server.outcomes) == 2, "the reply never left, or always did"


@pytest.mark.timeout(300)
def test_so_does_a_site_without_a_disk_whose_ledger_is_in_s3(
    tmp_path: Path, ledger_bucket: ObjectStore, aws_endpoint: str
) -> None:
    """Each new process claims the ledger, as the next holder of the partition's lease does."""
    place = f"s3://{ledger_bucket.bucket}/v1"
    settings = provision(
        tmp_path,
        ledger=f"{place}/ledgers/{{partition}}",
        marker=f"{place}/markers/{{partition}}",
        kms_key=ledger_bucket.kms_key_id,
    )
    under_fire(tmp_path, SETTINGS.model_copy(update={"rounds": 3}), settings, kills=18, token=0)
