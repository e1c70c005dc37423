"""The privacy of a run, site by site: spent against limit, and in words how the site stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fedpriv_common.errors import Refusal
from fedpriv_common.records import EventKind
from fedpriv_common.wire import OK
from fedpriv_metrics.answers import known
from fedpriv_metrics.forecast import Question
from fedpriv_metrics.index import RunIndex
from fedpriv_metrics.models.privacy import RunPrivacy, SitePrivacy, SiteStatus
from fedpriv_metrics.viewer import Viewer

#: From this share of its limit on, a site's budget is called nearly spent.
NEAR = 0.8
_ANYBODY = Viewer()


#: Answers how many further runs fit, or None when it is not known yet.
Forecast = Callable[[Question], int | None]


def run_privacy(run: RunIndex, forecast: Forecast, viewer: Viewer = _ANYBODY) -> RunPrivacy:
    """Budgets of the run's data set at each site, and the mechanism in numbers."""
    plan = known(run).plan
    return RunPrivacy(
        run_id=run.run_id,
        seq=str(run.seq),
        dataset=plan.dataset,
        epsilon_target=plan.epsilon,
        delta=plan.delta,
        adjacency=plan.adjacency,
        unit=plan.unit,
        noise_multiplier=plan.train.noise_multiplier,
        max_grad_norm=plan.train.max_grad_norm,
        sample_rate=plan.train.sample_rate,
        steps=plan.train.steps,
        sites=[_site(run, site, forecast) for site in run.sites() if viewer.sees(site)],
    )


def refusal(run: RunIndex, site: str) -> str | None:
    """The code with which the site declined the plan or, failing that, the last closed round."""
    admission, closed = run.admissions.get(site), run.last_round
    if admission and admission.code != OK:
        return admission.code
    return closed.refused.get(site) if closed else None


def status(run: RunIndex, site: str) -> SiteStatus:
    """How the site stands, worst first."""
    facts, code = run.facts(site), refusal(run, site)
    admission = run.admissions.get(site)
    if (admission and admission.code != OK) or code not in (None, Refusal.BUDGET_EXHAUSTED):
        return "refused"
    if code is None and silent_since(run, site):
        return "offline"
    if code is not None or (facts and facts.epsilon_spent >= facts.epsilon_limit):
        return "at_limit"
    if facts and facts.epsilon_spent >= NEAR * facts.epsilon_limit:
        return "near_limit"
    return "within_budget" if admission else "waiting"


def silent_since(run: RunIndex, site: str) -> datetime | None:
    """Since when the site has not been heard of, as far as this run tells: it went, or missed the last rounds."""
    figures, closed = run.figures.get(site), run.last_round
    missed = None
    if closed and site in closed.expected and site not in closed.received:
        # The rounds before that, as far as they were missed too.
        missed = closed.closed_at
        for number in range(closed.round - 1, -1, -1):
            before = run.rounds.get(number)
            if before is None or site not in before.expected or site in before.received:
                break
            missed = before.closed_at
    told = [event for event in run.events.values() if event.site == site]
    # A reply in a later round tells that it is back, whatever the clocks say.
    answered = figures.recorded_at.rounds[-1] if figures and len(figures.recorded_at) else -1
    lost = [event for event in told if event.kind is EventKind.SITE_OFFLINE]
    gone = max((event.at for event in lost if event.round is None or event.round >= answered), default=None)
    heard = [event.at for event in told if event.kind is EventKind.SITE_BACK]
    if figures and figures.last_reply:
        heard.append(figures.last_reply)
    if gone is not None and any(at >= gone for at in heard):
        gone = None
    return min((at for at in (missed, gone) if at is not None), default=None)


def _site(run: RunIndex, site: str, forecast: Forecast) -> SitePrivacy:
    facts, figures = run.facts(site), run.figures.get(site)
    question = Question.of(known(run).plan, facts, ended=run.end is not None) if facts else None
    return SitePrivacy(
        site=site,
        status=status(run, site),
        code=refusal(run, site),
        epsilon_limit=facts.epsilon_limit if facts else None,
        epsilon_planned=facts.epsilon_planned if facts else None,
        rounds=list(figures.epsilon_run.rounds) if figures else [],
        epsilon_run=list(figures.epsilon_run.values) if figures else [],
        epsilon_spent=list(figures.epsilon_spent.values) if figures else [],
        runs_left=forecast(question) if question else None,
        ledger_seq=facts.ledger_seq if facts else None,
        ledger_head=facts.ledger_head if facts else None,
        policy_digest=facts.policy_digest if facts else None,
    )
