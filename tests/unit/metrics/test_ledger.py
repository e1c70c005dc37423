"""What data sets have cost over all runs: told by the sites, held to the accountant over the same history."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common import keys
from fedpriv_common.accounting import GaussianEvent, epsilon
from fedpriv_common.errors import Refusal
from fedpriv_common.objects import Parsed, parse
from fedpriv_common.plan import Plan, RunSettings
from fedpriv_common.records import AllowList, EndCause, EventKind, HeldOutEvaluation, RunEvent, RunSites, RunState
from fedpriv_metrics.answers import known
from fedpriv_metrics.forecast import count
from fedpriv_metrics.index import Index
from fedpriv_metrics.ledger import Scope, charge_page, ledger_page
from fedpriv_metrics.models.ledger import Account, Charge, LedgerPage
from fedpriv_metrics.models.sites import SiteDetail, SiteSummary
from fedpriv_metrics.parts import Parts
from fedpriv_metrics.site_keys import site_keys
from fedpriv_metrics.sites import site_detail, site_page
from fedpriv_metrics.viewer import Viewer
from tests.lives import Life
from tests.run_writer import START, Script, encode

LENIENT = RunSettings(quorum=1)
ELSEWHERE = (GaussianEvent(20.0, 1.0, 3),)


class Book:
    """An index over a life, and what is answered from it."""

    def __init__(self) -> None:
        self.life, self.index = Life(), Index()
        self.parts = Parts(self.index)
        self.lists: list[AllowList] = []

    def allows(self, day: int, **sites: str) -> None:
        """The server's allow-list from that day on: a letter stands for a key."""
        fingerprints = {name.replace("_", "-"): 64 * letter for name, letter in sites.items()}
        self.lists.append(AllowList(at=START + timedelta(days=day), cause="change", sites=fingerprints))

    def run(self, script: Script | None = None, upto: str = "end") -> str:
        """Read the next run; its id."""
        for _, objects in self.life.run(script, upto):
            run_id = self.life.runs[-1]
            self.index.apply(run_id, [parse(key, run_id, body) for key, body in encode(objects).items()])
        return self.life.runs[-1]

    def spent(self, site: str) -> float:
        """What the site's ledger comes to: the oracle."""
        return epsilon(self.life.held[site], Script().plan().delta)

    def plan_of(self, run_id: str) -> Plan:
        run = self.index.run(run_id)
        assert run is not None
        return known(run).plan

    def page(
        self, scope: Scope | None = None, limit: int = 200, cursor: str | None = None, points: int = 200
    ) -> LedgerPage:
        scope = scope or Scope(Viewer())
        parts = self.parts.all()
        return ledger_page("", parts, scope, self.plan_of, count, limit=limit, cursor=cursor, points=points)

    def account(self, site: str) -> Account:
        (account,) = self.page(Scope(Viewer(), site)).accounts
        return account

    def charges(self, site: str | None = None) -> list[Charge]:
        """Newest first."""
        return charge_page("", self.parts.all(), Scope(Viewer(), site), limit=200, cursor=None).charges

    def site(self, site: str, viewer: Viewer | None = None) -> SiteDetail:
        scope = Scope(viewer or Viewer(), site)
        return site_detail("", self.index, self.parts.all(), site_keys(self.lists), scope, self.plan_of, count)

    def sites(self, viewer: Viewer | None = None) -> list[SiteSummary]:
        keys_of = site_keys(self.lists)
        return site_page("", self.parts.all(), keys_of, viewer or Viewer(), limit=200, cursor=None).sites

    def happens(self, kind: EventKind, site: str, number: int | None = None) -> None:
        """An event in the newest run, a second after what it holds."""
        run = self.index.run(self.life.runs[-1])
        assert run is not None
        assert run.updated_at is not None
        at = run.updated_at.replace(second=(run.updated_at.second + 1) % 60)
        event = RunEvent(run_id=run.run_id, event_id=f"E{len(run.events)}", at=at, kind=kind, site=site, round=number)
        self.index.apply(run.run_id, [Parsed(keys.event(run.run_id, event.event_id), at, event)])

    def evaluates(self, number: int, epsilon_pure: float, sites: Iterable[str]) -> None:
        """An evaluation of the newest run's model after a round, with the counts of `sites`."""
        run = self.index.run(self.life.runs[-1])
        assert run is not None
        assert run.updated_at is not None
        counts = {site: ((5, 1), (0, 7)) if site in sites else None for site in ("site-1", "site-2", "site-3")}
        value = HeldOutEvaluation(
            run_id=run.run_id,
            round=number,
            released_at=run.updated_at,
            mechanism="geometric",
            epsilon=epsilon_pure,
            confidence=0.95,
            counts=counts,
            figures={},
        )
        self.index.apply(run.run_id, [Parsed(keys.evaluation(run.run_id, number), value.released_at, value)])


@pytest.fixture
def book() -> Book:
    return Book()


def test_spent_is_the_composition_of_every_run_and_no_sum(book: Book) -> None:
    runs = [book.run() for _ in range(3)]
    account, charges = book.account("site-1"), book.charges("site-1")
    one = epsilon(Script().plan().events(), Script().plan().delta)
    assert account.epsilon_spent == charges[0].epsilon_after == book.spent("site-1")
    assert [charge.run_id for charge in charges] == runs[::-1]
    assert [charge.epsilon_run for charge in charges] == account.history.epsilon_run == [one] * 3
    assert account.epsilon_spent < 3 * one
    assert [charge.epsilon_before for charge in charges[:-1]] == [charge.epsilon_after for charge in charges[1:]]
    assert (charges[-1].epsilon_before, account.epsilon_before, account.unlisted) == (0, 0, 0)
    assert (account.runs, account.declined, account.first_run, account.last_run) == (3, 0, runs[0], runs[2])
    assert account.epsilon_limit is not None
    assert account.epsilon_remaining == account.epsilon_limit - account.epsilon_spent


def test_a_refusal_costs_nothing_and_is_told_with_its_code(book: Book) -> None:
    book.run()
    refusing = Script(settings=LENIENT, refusals={"site-2": Refusal.POLICY_REFUSED})
    book.run(refusing)
    account, newest = book.account("site-2"), book.charges("site-2")[0]
    assert (newest.outcome, newest.code, newest.epsilon_run, newest.epsilon_after) == (
        "declined",
        "POLICY_REFUSED",
        0,
        None,
    )
    assert (account.status, account.code, account.runs, account.declined) == ("refused", "POLICY_REFUSED", 1, 1)
    assert account.epsilon_spent == book.spent("site-2")
    assert book.account("site-1").status == "within_budget"


def test_what_was_spent_before_the_first_run_here_is_said(book: Book) -> None:
    book.life.elsewhere("site-1", ELSEWHERE)
    before = book.spent("site-1")
    book.run()
    assert book.account("site-1").epsilon_before == before == book.charges("site-1")[0].epsilon_before
    assert book.account("site-1").unlisted == 0


def test_releases_that_never_reached_this_hub_show_as_a_step_between_runs(book: Book) -> None:
    book.run()
    book.life.elsewhere("site-1", ELSEWHERE)
    book.run()
    assert [charge.unlisted for charge in book.charges("site-1")] == [True, False]
    assert (book.account("site-1").unlisted, book.account("site-2").unlisted) == (1, 0)
    history = book.account("site-1").history
    assert history.epsilon_before[1] > history.epsilon_after[0]


def test_an_active_run_counts_as_planned_and_the_runs_left_come_after_it(book: Book) -> None:
    book.run()
    book.run(upto="round 4")
    account, plan = book.account("site-1"), Script().plan()
    done = [*plan.events(), *plan.events()]
    assert account.epsilon_planned == epsilon(done, plan.delta)
    assert account.epsilon_spent == book.spent("site-1") < account.epsilon_planned
    assert account.runs_left is not None
    assert account.epsilon_limit is not None
    further = [*done, *(plan.events() * account.runs_left)]
    assert epsilon(further, plan.delta) <= account.epsilon_limit < epsilon([*further, *plan.events()], plan.delta)


def test_an_ended_run_plans_nothing(book: Book) -> None:
    book.run(Script(last_round=5, state=RunState.HALTED, cause=EndCause.BUDGET))
    assert book.account("site-1").epsilon_planned is None
    assert book.charges("site-1")[0].rounds == 6


def test_evaluations_are_told_apart_and_add_up(book: Book) -> None:
    book.run()
    book.evaluates(7, 0.25, ["site-1", "site-2"])
    book.evaluates(13, 0.25, ["site-1"])
    charges = {charge.site: (charge.evaluations, charge.epsilon_evaluations) for charge in book.charges()}
    assert charges == {"site-1": (2, 0.5), "site-2": (1, 0.25), "site-3": (0, 0)}
    # Facts told in round 13 hold the evaluation of round 7 already: the script's sites say they have spent none.
    assert book.account("site-1").epsilon_held_out == 0.25
    assert book.account("site-2").epsilon_held_out == 0


def test_a_policy_that_changed_is_told_with_when(book: Book) -> None:
    book.run()
    second = book.life.begins()
    book.run(Script(epsilon_limit=4.0))
    book.run(Script(epsilon_limit=4.0))
    newest, oldest = book.account("site-1").policies
    assert (newest.epsilon_limit, oldest.epsilon_limit) == (4.0, 8.0)
    assert (newest.since.date(), newest.policy_digest != oldest.policy_digest) == (second.date(), True)


@pytest.mark.parametrize(
    ("limit", "status"), [(2.4, "within_budget"), (1.2, "near_limit"), (0.99, "at_limit")], ids=str
)
def test_nearness_is_measured_against_the_sites_own_limit(book: Book, limit: float, status: str) -> None:
    book.run(Script(epsilon_limit=limit))
    assert book.account("site-1").status == status
    assert book.site("site-1").budget == status


def test_a_budget_that_cannot_pay_is_at_its_limit_only_when_little_is_left(book: Book) -> None:
    book.run(Script(epsilon_limit=1.2))
    book.run(Script(epsilon_limit=1.2, settings=LENIENT, refusals={"site-1": Refusal.BUDGET_EXHAUSTED}))
    assert book.account("site-1").status == "at_limit"
    large = Book()
    large.run()
    large.run(Script(settings=LENIENT, refusals={"site-1": Refusal.BUDGET_EXHAUSTED}))
    assert (large.account("site-1").status, large.account("site-1").code) == ("refused", "BUDGET_EXHAUSTED")


def test_a_site_that_never_told_anything_is_unknown_and_not_at_zero(book: Book) -> None:
    book.run(Script(settings=LENIENT, refusals={"site-3": Refusal.UNKNOWN_APP}))
    account = book.account("site-3")
    assert (account.epsilon_spent, account.epsilon_limit, account.epsilon_remaining) == (None, None, None)
    assert (account.runs_left, account.history.at, account.policies) == (None, [], [])


def test_a_history_is_thinned_and_keeps_its_ends(book: Book) -> None:
    for _ in range(4):
        book.run()
    whole = book.account("site-1").history
    (thin,) = book.page(Scope(Viewer(), "site-1"), points=3).accounts
    assert (len(whole.at), whole.sampled, len(thin.history.at), thin.history.sampled) == (4, False, 3, True)
    assert (thin.history.at[0], thin.history.at[-1]) == (whole.at[0], whole.at[-1])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(["site-1", "site-2", "site-3"]), max_size=2),
            st.integers(1, 13),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 4),
)
def test_whatever_happened_the_ledger_tells_what_the_sites_have_spent(
    runs: list[tuple[set[str], int, bool]], limit: int
) -> None:
    book = Book()
    for number, (refusing, last, elsewhere) in enumerate(runs):
        if elsewhere and number:
            book.life.elsewhere("site-1", ELSEWHERE)
        book.run(
            Script(
                settings=LENIENT,
                refusals=dict.fromkeys(sorted(refusing), Refusal.BUDGET_EXHAUSTED),
                last_round=last,
                state=RunState.HALTED,
                cause=EndCause.BUDGET,
            )
        )
    for site in ("site-1", "site-2", "site-3"):
        joined = [number for number, (refusing, _, _) in enumerate(runs) if site not in refusing]
        account = book.account(site)
        assert (account.runs, account.declined) == (len(joined), len(runs) - len(joined))
        charges = book.charges(site)
        assert [charge.epsilon_after is not None for charge in reversed(charges)] == [
            site not in refusing for refusing, _, _ in runs
        ]
        if joined:
            # What was spent elsewhere after the last run that it joined here nobody could tell.
            known_here = book.life.held[site]
            if site == "site-1":
                later = sum(elsewhere for _, _, elsewhere in runs[joined[-1] + 1 :])
                known_here = known_here[: len(known_here) - later] if later else known_here
            assert account.epsilon_spent == pytest.approx(epsilon(known_here, account.delta or 0), rel=1e-9)
        # A step is said where there was one since the last run that the site joined, and nowhere else.
        steps = {
            number
            for before, number in pairwise(joined)
            if site == "site-1" and any(elsewhere for _, _, elsewhere in runs[before + 1 : number + 1])
        }
        assert {number for number, charge in enumerate(reversed(charges)) if charge.unlisted} == steps
    _pages_make_up_the_whole(book, limit)


def _pages_make_up_the_whole(book: Book, limit: int) -> None:
    whole, found, cursor = book.charges(), list[Charge](), None
    while True:
        page = charge_page("", book.parts.all(), Scope(Viewer()), limit=limit, cursor=cursor)
        found += page.charges
        if (cursor := page.next_cursor) is None:
            break
    assert found == whole
    accounts, cursor = list[Account](), None
    while True:
        ledger = book.page(limit=limit, cursor=cursor)
        accounts += ledger.accounts
        if (cursor := ledger.next_cursor) is None:
            break
    assert accounts == book.page().accounts


def test_a_viewer_of_one_site_is_told_of_no_other(book: Book) -> None:
    book.run(Script(settings=LENIENT, refusals={"site-2": Refusal.POLICY_REFUSED}))
    own = Viewer("site-1")
    assert [account.site for account in book.page(Scope(own)).accounts] == ["site-1"]
    assert {
        charge.site for charge in charge_page("", book.parts.all(), Scope(own), limit=200, cursor=None).charges
    } == {"site-1"}
    assert [site.site for site in book.sites(own)] == ["site-1"]
    assert "site-2" not in book.site("site-1", own).model_dump_json()
    with pytest.raises(LookupError):
        book.site("site-2", own)


def test_only_runs_that_changed_are_worked_out_again(book: Book) -> None:
    book.run()
    book.run(upto="round 3")
    before = book.parts.all()
    book.happens(EventKind.LATE_REPLY, "site-1", 3)
    after = book.parts.all()
    assert all(one is other for one, other in zip(before[:3], after[:3], strict=True))
    assert (before[3].late, after[3].late) == (0, 1)


def test_how_a_site_stands_is_of_its_newest_run(book: Book) -> None:
    book.run(Script(settings=LENIENT, absent={2: frozenset({"site-1"}), 3: frozenset({"site-1"})}), upto="round 3")
    site = book.site("site-1")
    run = book.index.run(book.life.runs[-1])
    assert run is not None
    gone = min(event.at for event in run.events.values())
    assert (site.standing, site.since, site.missed) == ("offline", gone, 2)
    assert book.site("site-2").standing == "in_run"
    book.run()
    assert [entry.standing for entry in book.sites()] == ["idle"] * 3
    assert (book.site("site-1").missed, book.site("site-1").since) == (2, None)


def test_a_site_that_waits_for_a_person_says_so_until_it_answers(book: Book) -> None:
    book.run(upto="run")
    book.happens(EventKind.AWAITING_APPROVAL, "site-2")
    waiting = book.site("site-2")
    assert (waiting.standing, waiting.budget, waiting.last_heard) == ("awaiting_approval", "unknown", waiting.since)
    assert waiting.entries[0].kind == "awaiting_approval"
    assert book.charges("site-2")[0].outcome == "waiting"


def test_a_site_that_declined_the_active_run_stands_so(book: Book) -> None:
    book.run(Script(settings=LENIENT, refusals={"site-2": Refusal.POLICY_REFUSED}), upto="round 1")
    assert (book.site("site-2").standing, book.site("site-2").code) == ("declined", "POLICY_REFUSED")


def test_a_site_that_was_asked_and_never_answered_is_not_forgotten(book: Book) -> None:
    book.run(Script(settings=LENIENT, sites=("site-1", "site-2")))
    run = book.index.run(book.life.runs[-1])
    assert run is not None
    assert book.sites()[-1].site == "site-2"
    asked = RunSites(run_id=run.run_id, sites=("site-1", "site-2", "site-3"))
    assert run.updated_at is not None
    book.index.apply(run.run_id, [Parsed(keys.run_asked(run.run_id), run.updated_at, asked)])
    silent = book.site("site-3")
    assert (silent.standing, silent.joined, silent.last_heard) == ("not_joined", 0, None)
    assert (silent.charges[0].outcome, silent.charges[0].epsilon_run) == ("waiting", None)


def test_keys_are_told_with_since_when_and_what_became_of_them(book: Book) -> None:
    book.run()
    book.allows(0, site_1="a", site_2="b", site_3="c")
    book.allows(1, site_1="a", site_2="d", site_9="e")
    book.allows(2, site_1="a", site_2="d", site_9="e")
    found = {site.site: site for site in book.sites()}
    keys_of = {name: site.key for name, site in found.items()}
    assert all(keys_of.values())
    days = {
        name: ((key.since - START).days, key.until and (key.until - START).days) for name, key in keys_of.items() if key
    }
    assert days == {"site-1": (0, None), "site-2": (1, None), "site-3": (0, 1), "site-9": (1, None)}
    assert {name: key.earlier for name, key in keys_of.items() if key} == {
        "site-1": 0,
        "site-2": 1,
        "site-3": 0,
        "site-9": 0,
    }
    assert {name: site.standing for name, site in found.items()} == {
        "site-1": "idle",
        "site-2": "idle",
        "site-3": "revoked",
        "site-9": "enrolled",
    }
    assert (found["site-9"].run_id, found["site-9"].budget) == (None, "unknown")
    assert book.site("site-9").accounts == []
    book.allows(3, site_1="a", site_2="d", site_3="c", site_9="e")
    back = book.site("site-3")
    assert back.key is not None
    assert (back.standing, (back.key.since - START).days, back.key.earlier) == ("idle", 3, 0)
    assert [site.site for site in book.sites(Viewer("site-2"))] == ["site-2"]
    with pytest.raises(LookupError):
        book.site("site-9", Viewer("site-2"))
