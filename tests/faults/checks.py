"""What must hold after every fault: each record once, each release charged once, every figure recomputable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from typer.testing import CliRunner

from fedpriv_common import keys
from fedpriv_common.accounting import GaussianEvent, coalesce, epsilon
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.records import Admission, EventKind, MetricRecord, RoundClosed, RunEnd, RunEvent, RunInfo, RunState
from fedpriv_common.statement.cli import app as verify_app
from fedpriv_common.statement.schema import SignedPart
from fedpriv_common.statement.verify import parse
from tests.faults.cases import ROUNDS, SITES, Case
from tests.faults.stack import Stored
from tests.faults.strike import LASTS_S

#: How far another accountant's figure may lie from ours; it rounds losses up to a grid.
ACCOUNTANTS_AGREE: Final = 0.01


def require(holds: bool, what: str) -> None:
    """Fail a case, saying why."""
    if not holds:
        raise AssertionError(what)


def check_end(run_id: str, stored: dict[str, Stored]) -> RunEnd:
    """The run ended once, and finished: no fault of ten seconds may cost a run."""
    require(keys.run_end(run_id) in stored, "the run has no end in the bucket")
    end = RunEnd.model_validate_json(stored[keys.run_end(run_id)].body)
    require(end.state is RunState.FINISHED, f"{end.state} ({end.cause}), where every fault passes by")
    require(end.rounds == ROUNDS, f"finished after {end.rounds} of {ROUNDS} rounds")
    require(end.model_digest is not None, "rounds, and no model")
    return end


def check_bite(
    case: Case, run_id: str, end: RunEnd, struck_at: datetime, stored: dict[str, Stored], told: set[str]
) -> None:
    """The fault was felt: a server that was killed took the run up again, one whose disk was full said so, a
    site refused, and a run that could not go on did not. `told`: the target's log since, messages and codes."""
    folder = f"{keys.run_prefix(run_id)}events/"
    events = [RunEvent.model_validate_json(entry.body) for key, entry in stored.items() if key.startswith(folder)]
    if (case.target, case.fault) == ("server", "kill"):
        require(EventKind.RUN_RESUMED in {event.kind for event in events}, "a server was killed, and no run resumed")
    if (case.target, case.fault) == ("server", "disk-full"):
        require("outbox_unavailable" in told, "a disk was full, and the server did not notice")
    if (case.kind, case.fault) == ("site", "disk-full"):
        # Whatever the moment, there is something left to write: at least that the run is closed.
        require(Refusal.LEDGER_UNAVAILABLE in told, "a disk was full, and the site wrote all the same")
    lasts = case.fault in ("pause", "disconnect") and case.when in ("before-round", "training")
    if lasts and (case.target == "server" or (case.kind == "site" and case.quorum == len(SITES))):
        took = (end.ended_at - struck_at).total_seconds()
        require(took > LASTS_S - 1.0, f"the run ended {took:.1f} s after a fault that it had to wait out")


def check_records(run_id: str, end: RunEnd, stored: dict[str, Stored]) -> dict[tuple[Phase, int], RoundClosed]:
    """Every object was written once; each round closed once, with one record for each reply; returns the rounds."""
    doubled = [key for key, entry in stored.items() if entry.versions != 1]
    require(not doubled, f"written more than once: {doubled}")
    info = RunInfo.model_validate_json(stored[keys.run_info(run_id)].body)
    folder = f"{keys.run_prefix(run_id)}rounds/"
    closes = [RoundClosed.model_validate_json(entry.body) for key, entry in stored.items() if key.startswith(folder)]
    rounds = {(closed.phase, closed.round): closed for closed in closes}
    complete = [(Phase.CENTRE, 0)] * (info.plan.centre is not None)
    complete += [(Phase.TRAIN, number) for number in range(1, end.rounds + 1)]
    lost = [f"{phase} {number}" for phase, number in complete if (phase, number) not in rounds]
    require(not lost, f"rounds without a close: {lost}")
    # One more may have been closed for want of answers.
    require(len(closes) <= len(complete) + (end.state.value != "finished"), "more rounds than there were")
    for _, number in complete:
        require(keys.checkpoint(run_id, number) in stored, f"no checkpoint of round {number}")
    told = {key for key in stored if key.startswith(f"{keys.run_prefix(run_id)}records/")}
    due = {
        keys.record(run_id, closed.round, site, closed.phase) for closed in rounds.values() for site in closed.received
    }
    due |= {keys.record(run_id, number, "global", Phase.EVALUATE) for number in range(1, end.rounds + 1)}
    evaluated = {key for key in told if key.endswith(".evaluate.json") and "/global." not in key}
    require(due <= told, f"lost records: {sorted(due - told)}")
    require(told <= due | evaluated, f"records of no reply: {sorted(told - due - evaluated)}")
    return rounds


def check_conflicts(run_id: str, log: Iterable[dict[str, Any]]) -> None:
    """Nothing was written twice with two contents: the bucket keeps the first, and only the server's log tells."""
    doubled = [e["key"] for e in log if e["message"] == "store_conflict" and run_id in e["key"]]
    require(not doubled, f"written again with other contents: {doubled}")


def check_api(
    run_id: str,
    end: RunEnd,
    rounds: dict[tuple[Phase, int], RoundClosed],
    run: Any,
    log: Any,
    privacy: Any,
    accuracy: Any,
) -> None:
    """The metrics API tells the same: the end, each round once, a figure for each site's reply and for each model."""
    figures = [(series["site"], series["rounds"]) for series in (accuracy or {"series": []})["series"]]
    models = [("global", list(range(1, end.rounds + 1)))] if end.rounds else []
    require(figures == models, f"accuracy of {figures}, where there are models of {models}")
    require(run["state"] == end.state.value, f"the metrics API says {run['state']}")
    closes = Counter((entry["kind"], entry["round"]) for entry in log["entries"] if entry["id"].startswith("rounds/"))
    require(sorted(n for _, n in closes) == sorted(c.round for c in rounds.values()), "the log's rounds are others")
    require(set(closes.values()) <= {1}, "the log tells a round twice")
    answered = {
        site: sorted(closed.round for closed in rounds.values() if site in closed.received)
        for site in {site for closed in rounds.values() for site in closed.received}
    }
    for site in privacy["sites"]:
        told = Counter(site["rounds"])
        require(set(told.values()) <= {1}, f"{site['site']}: a round's budget twice in run {run_id}")
        missing = set(answered.get(site["site"], ())) - set(told)
        require(not missing, f"{site['site']}: rounds {sorted(missing)} are missing in the metrics API")


def check_statement(case: Case, run_id: str, end: RunEnd, stored: dict[str, Stored], folder: Path) -> None:
    """`fedpriv verify` takes the statement, with the keys that auditors have, of every site that signed its part.

    Only the site that was struck may have missed the close.
    """
    if end.model_digest is None:
        return
    require(keys.statement(run_id) in stored, "a model without its statement")
    body = stored[keys.statement(run_id)].body
    unsigned = [section.site for section in parse(body).statement.sections if section.signed is None]
    require(set(unsigned) <= {case.target}, f"no signed part of {unsigned}")
    (folder / "statement.json").write_bytes(body)
    (folder / "model").write_bytes(stored[keys.model(run_id)].body)
    done = CliRunner().invoke(
        verify_app,
        [
            *(str(folder / "statement.json"), "--hub-key", str(folder / "hub.pem"), "--model", str(folder / "model")),
            *("--site-keys", str(folder / "sites")),
            *(part for site in unsigned for part in ("--unsigned", site)),
        ],
    )
    require(done.exit_code == 0, f"fedpriv verify: {done.exception or done.output}")


# -- ledgers -----------------------------------------------------------------------------------------------------------


def check_ledger(site: str, run_id: str, lines: list[dict[str, Any]], stored: dict[str, Stored]) -> None:
    """What a site's ledger says of a run: each release once, each reply that the server has committed before, and an
    epsilon that two accountants find, no more than the run's, and at every entry the one that the site told."""
    own = [line for line in lines if line["run_id"] == run_id]
    twice = [where for where, count in Counter((line["round"], line["phase"]) for line in own).items() if count > 1]
    require(not twice, f"{site}: charged twice: {twice}")
    committed = {(line["round"], line["phase"]) for line in own if line["state"] == "committed"}
    folder = f"{keys.run_prefix(run_id)}rounds/"
    for key, entry in stored.items():
        if key.startswith(folder):
            closed = RoundClosed.model_validate_json(entry.body)
            require(
                site not in closed.received or (closed.round, closed.phase.value) in committed,
                f"{site}: round {closed.round} was answered, and is not committed",
            )
    admission = stored.get(keys.admission(run_id, site))
    if admission is None or Admission.model_validate_json(admission.body).facts is None:
        return
    plan = RunInfo.model_validate_json(stored[keys.run_info(run_id)].body).plan
    spent = agreed_epsilon(site, own, plan.delta)
    require(spent <= plan.epsilon * (1 + 1e-9), f"{site}: ε {spent} of {plan.epsilon}")
    for told, delta, seq, events in _told_epsilons(site, run_id, lines, stored):
        ours = epsilon(events, delta) if events else 0.0
        require(abs(told - ours) <= 1e-6 * max(1.0, ours), f"{site}: told ε {told} at entry {seq}, recomputed {ours}")


def _told_epsilons(
    site: str, run_id: str, lines: list[dict[str, Any]], stored: dict[str, Stored]
) -> Iterator[tuple[float, float, int, tuple[GaussianEvent, ...]]]:
    """Epsilons that a site told in a run, each with its delta, the ledger's entry up to which it counts, and what the
    ledger holds up to there."""

    def until_entry(seq: int, run: str | None = None) -> tuple[GaussianEvent, ...]:
        return gaussian(line for line in lines if line["seq"] <= seq and run in (None, line["run_id"]))

    folder, ending = f"{keys.run_prefix(run_id)}records/", f"/{site}.{Phase.TRAIN}.json"
    for key, entry in stored.items():
        if key.startswith(folder) and key.endswith(ending):
            facts = MetricRecord.model_validate_json(entry.body).facts
            if facts is not None:
                seq = facts.ledger_seq
                yield facts.epsilon_run, facts.delta, seq, until_entry(seq, run_id)
                yield facts.epsilon_spent, facts.delta, seq, until_entry(seq)
    if keys.part(run_id, site) in stored:
        part = SignedPart.model_validate_json(stored[keys.part(run_id, site)].body).part
        seq, signed = part.ledger.seq, part.epsilon
        yield signed.run.add_remove, signed.delta, seq, until_entry(seq, run_id)
        yield signed.lifetime.add_remove, signed.delta, seq, until_entry(seq)


def agreed_epsilon(site: str, lines: list[dict[str, Any]], delta: float) -> float:
    """Epsilon of a ledger's Gaussian releases, by fedpriv's accountant and by another one, which must agree."""
    events = gaussian(lines)
    if not events:
        return 0.0
    ours = epsilon(events, delta)
    accountant = PLDAccountant()
    for event in events:
        require(event.sample_rate == 1.0, "this recipe takes every record")
        accountant.compose(GaussianDpEvent(event.noise_multiplier), event.steps)
    theirs = float(accountant.get_epsilon(delta))
    require(abs(ours - theirs) <= ACCOUNTANTS_AGREE * max(ours, 0.1), f"{site}: ε {ours} here, {theirs} there")
    return ours


def gaussian(lines: Iterable[dict[str, Any]]) -> tuple[GaussianEvent, ...]:
    """The events of a ledger's releases on training records, whether or not their replies ever left."""
    return coalesce(
        GaussianEvent(line["noise_multiplier"], line["sample_rate"], line["steps"])
        for line in lines
        if line["mechanism"] == "gaussian"
    )
