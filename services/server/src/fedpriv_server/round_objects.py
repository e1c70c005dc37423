"""What a round leaves in the bucket, besides its checkpoint."""

from __future__ import annotations

from datetime import UTC, datetime

from fedpriv_common import keys
from fedpriv_common.plan import Phase
from fedpriv_common.records import GLOBAL, MetricRecord, RoundClosed
from fedpriv_server.exchange import Answers
from fedpriv_server.journal import as_object
from fedpriv_server.outbox import StoredObject


def public_figures(run_id: str, number: int, figures: dict[str, float | None]) -> StoredObject:
    """The model of a round on the public validation set."""
    record = MetricRecord(
        run_id=run_id,
        site=GLOBAL,
        round=number,
        phase=Phase.EVALUATE,
        recorded_at=datetime.now(UTC),
        provenance="public",
        metrics=figures,
        facts=None,
    )
    return as_object(keys.record(run_id, number, GLOBAL, Phase.EVALUATE), record)


def close_of(
    run_id: str, phase: Phase, number: int, members: tuple[str, ...], answers: Answers, duration_s: float
) -> RoundClosed:
    """The close of a round."""
    return RoundClosed(
        run_id=run_id,
        round=number,
        phase=phase,
        closed_at=datetime.now(UTC),
        expected=members,
        received=tuple(sorted(answers.replies)),
        refused=dict(sorted(answers.refused.items())),
        duration_ms=1000 * duration_s,
    )


def replies_as_objects(run_id: str, phase: Phase, number: int, answers: Answers) -> list[StoredObject]:
    """One record per reply. The release itself is not stored: the model is made of it, and no more of it is needed."""
    now = datetime.now(UTC)
    return [
        as_object(
            keys.record(run_id, number, site, phase),
            MetricRecord(
                run_id=run_id,
                site=site,
                round=number,
                phase=phase,
                recorded_at=now,
                provenance="dp",
                metrics={},
                facts=reply.facts,
            ),
        )
        for site, reply in sorted(answers.replies.items())
    ]
