"""The privacy statement of a run's model: the sites' signed parts, and the hub's words around them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from fedpriv_common.contract import DataContract
from fedpriv_common.records import RunInfo
from fedpriv_common.statement.figures import strengths
from fedpriv_common.statement.schema import Outcome, Promise, Section, SignedPart, Software, Statement
from fedpriv_common.statement.words import make_words
from fedpriv_common.wire import SiteFacts


def make_statement(
    run: RunInfo,
    contract: DataContract,
    outcome: Outcome,
    facts: Mapping[str, SiteFacts],
    parts: Mapping[str, SignedPart],
    model_digest: str,
    server: Software,
) -> Statement:
    """The statement, not yet signed. `facts`: what each site last told; a site's part, where it sent one, counts."""
    sections = tuple(
        Section(site=site, signed=parts.get(site), told=None if site in parts else facts[site])
        for site in sorted({*facts, *parts})
    )
    plan = run.plan
    of_run, of_lifetime = strengths(sections)
    return Statement(
        at=datetime.now(UTC),
        run_id=run.run_id,
        name=run.settings.name,
        created_at=run.created_at,
        outcome=outcome,
        promise=Promise(unit=plan.unit, adjacency=plan.adjacency, epsilon=plan.epsilon, delta=plan.delta),
        plan=plan,
        plan_digest=run.plan_digest,
        contract=contract,
        model_digest=model_digest,
        public_validation=run.public_validation,
        sections=sections,
        run=of_run,
        lifetime=of_lifetime,
        words=make_words(plan, contract, run.public_validation, sections),
        server=server,
    )
