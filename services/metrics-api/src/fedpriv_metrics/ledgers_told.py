"""Gathers, from runs and the registry, every ledger head that the hub was told (chains.py compares them)."""

from __future__ import annotations

from fedpriv_common import keys
from fedpriv_common.errors import Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.records import GLOBAL
from fedpriv_metrics.answers import known
from fedpriv_metrics.chains import ADMISSION, CLOSE, NOT_PROVEN, Ledger, Part, Refused, Told, judge
from fedpriv_metrics.index import RANK, Index, RunIndex
from fedpriv_metrics.models.chains import Chains
from fedpriv_metrics.registry import Registry, StatementFacts
from fedpriv_metrics.viewer import Viewer

_PHASE = {rank: phase for phase, rank in RANK.items()}


def told_chains(index: Index, registry: Registry, viewer: Viewer, site: str | None = None) -> Chains:
    """Every ledger, those that contradict themselves first."""
    ledgers: dict[tuple[str, str], Ledger] = {}
    statements = 0
    for run_id in index.run_ids():
        run = index.run(run_id)
        if run is not None:
            statement = registry.statements.get(run_id)
            statements += statement is not None
            _gather(run, statement, ledgers)
    for (name, dataset), (seq, key) in registry.witnessed.items():
        ledger = ledgers.setdefault((name, dataset), Ledger(name, dataset))
        ledger.witnessed, ledger.witness = seq, key
    chains = [
        judge(ledger)
        for (name, _), ledger in sorted(ledgers.items())
        if viewer.sees(name) and (site is None or site == name)
    ]
    chains.sort(key=lambda chain: (chain.state == "consistent", chain.site, chain.dataset))
    return Chains(
        chains=chains,
        statements=statements,
        witnesses=registry.witnesses if viewer.site is None else len(chains),
        read_at=registry.read_at,
        not_proven=NOT_PROVEN,
    )


def _gather(run: RunIndex, statement: StatementFacts | None, ledgers: dict[tuple[str, str], Ledger]) -> None:
    run_id, planned = run.run_id, known(run).plan.dataset

    def of(site: str, dataset: str = planned) -> Ledger:
        return ledgers.setdefault((site, dataset), Ledger(site, dataset))

    for site, admission in run.admissions.items():
        key = keys.admission(run_id, site)
        if (facts := admission.facts) is not None:
            told = Told(facts.ledger_seq, facts.ledger_head, key, run_id, ADMISSION)
            of(site, facts.dataset).told.append(told)
        if admission.code == Refusal.LEDGER_ROLLED_BACK:
            of(site).refused.append(Refused(key, run_id, ADMISSION))
    for site, figures in run.figures.items():
        if site == GLOBAL:
            continue
        for number, rank, seq, head in figures.heads:
            key = keys.record(run_id, number, site, Phase(_PHASE[rank]))
            of(site).told.append(Told(seq, head, key, run_id, (number, rank)))
    for number, closed in run.rounds.items():
        for site, code in closed.refused.items():
            if code == Refusal.LEDGER_ROLLED_BACK:
                refused = Refused(keys.round_closed(run_id, number), run_id, (number, RANK[closed.phase]))
                of(site).refused.append(refused)
    if statement is not None:
        for site, ledger in statement.ledgers.items():
            told = Told(ledger.seq, ledger.head, statement.object, run_id, CLOSE)
            part = Part(told, ledger.genesis, ledger.partition, ledger.partitions)
            of(site, statement.dataset).parts.append(part)
