"""Per-run approval: nothing is admitted before a person has said yes to exactly this plan, and the ledger says who."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedpriv_client.cli import app
from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.privacy.requests import KEPT
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal
from fedpriv_common.wire import Operation, Request

from .conftest import RUN, SiteOnDisk, admission, plan_of

PLAN, OTHER = plan_of(), plan_of(epsilon=0.5)


@pytest.fixture
def on_disk(tmp_path):
    (tmp_path / "policy.yaml").write_text("approval: true\nepsilon: 4\n")
    return SiteOnDisk(tmp_path, Policy(approval=True, epsilon=4.0))


def environment(on_disk):
    folder = on_disk.ledger_path.parent
    return {
        "FEDPRIV_LEDGER": str(on_disk.ledger_path),
        "FEDPRIV_LEDGER_MARKER": str(on_disk.marker),
        "FEDPRIV_STATE_DIR": str(folder / "state"),
        "FEDPRIV_CONTRACT": "breast-cancer-wisconsin",
        "FEDPRIV_POLICY": str(folder / "policy.yaml"),
    }


def approve(on_disk, *arguments, typed=None):
    """What the command prints; its FedprivError is raised."""
    result = CliRunner().invoke(app, ["approve", *arguments], input=typed, env=environment(on_disk))
    if isinstance(result.exception, FedprivError):
        raise result.exception
    return result.output


def entries(on_disk):
    store = SqliteStore.open(on_disk.ledger_path)
    return [body.decode() for _, body in store.read(0)]


def test_a_run_waits_for_a_person_and_costs_nothing_meanwhile(on_disk):
    site = on_disk.start()
    for _ in range(3):
        reply = site.handle(admission(PLAN))
        assert (reply.code, reply.facts, reply.payload) == (Refusal.APPROVAL_NEEDED, None, b"")
    assert entries(on_disk) == []
    assert [request.run_id for request in on_disk.requests.all()] == [RUN]


def test_the_person_reads_what_is_asked_in_plain_words(on_disk):
    on_disk.start().handle(admission(PLAN))
    shown = approve(on_disk, "show", RUN)
    for line in (
        "asked by  https://hub:8080",
        "stands    waiting",
        "recipe    fedsgd-logreg (fedsgd), 13 rounds, 3 sites",
        "model     logreg, 30 features, 2 classes, 31 parameters",
        "releases  13 noisy sums of the records' gradients",
        "this run  ε 1.00 at δ 1e-05, adding or removing one record; ε 2.16, exchanging it",
        "lifetime  ε 0.00 of 4.00 is spent or held",
        "ε 1.00 with this run, so that 3.00 remain",
    ):
        assert line in shown


def test_a_granted_run_is_admitted_by_the_running_site_and_the_ledger_says_by_whom(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    assert approve(on_disk, "grant", RUN, "--by", "Dr. Weber", typed="y\n").endswith("granted by Dr. Weber.\n")
    reply = site.handle(admission(PLAN))
    assert reply.code == "OK"
    assert reply.facts.ledger_seq == 2
    granted, admitted = entries(on_disk)
    assert '"by":"Dr. Weber"' in granted
    assert f'"plan_digest":"{PLAN.digest()}"' in granted
    assert '"kind":"admit"' in admitted
    assert on_disk.requests.all() == [], "what is settled waits no more"
    assert "granted by Dr. Weber" in approve(on_disk, "list")


def test_a_command_in_another_process_reaches_a_site_that_is_running(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    command = [Path(sys.executable).parent / "fedpriv", "approve", "grant", RUN, "--plan", PLAN.digest(), "--by", "me"]
    subprocess.run(command, env={**os.environ, **environment(on_disk)}, check=True, capture_output=True)
    assert site.handle(admission(PLAN)).code == "OK"


def test_it_reaches_a_site_that_has_claimed_its_ledger_by_lease(on_disk):
    site = on_disk.start()
    on_disk.ledger._store.claim(7)
    site.handle(admission(PLAN))
    approve(on_disk, "grant", RUN, "--plan", PLAN.digest())
    assert site.handle(admission(PLAN)).code == "OK"


def test_an_approval_outlives_the_process_and_the_request(on_disk):
    on_disk.start().handle(admission(PLAN))
    approve(on_disk, "grant", RUN, "--plan", PLAN.digest())
    assert on_disk.start().handle(admission(PLAN)).code == "OK"


def test_a_denied_run_is_against_the_policy_until_the_person_thinks_otherwise(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    approve(on_disk, "deny", RUN, "--by", "me")
    assert site.handle(admission(PLAN)).code == Refusal.POLICY_REFUSED
    assert on_disk.start().handle(admission(PLAN)).code == Refusal.POLICY_REFUSED
    assert "denied by me" in approve(on_disk, "list")
    approve(on_disk, "grant", RUN, "--plan", PLAN.digest())
    assert site.handle(admission(PLAN)).code == "OK"


def test_an_approval_is_for_one_plan(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    assert site.handle(admission(OTHER)).code == Refusal.REQUEST_CHANGED, "what was shown is not exchanged for another"
    approve(on_disk, "grant", RUN, "--plan", PLAN.digest())
    on_disk.requests.drop(RUN)
    assert site.handle(admission(OTHER)).code == Refusal.APPROVAL_NEEDED


def test_a_grant_for_another_plan_than_the_one_that_waits_is_refused(on_disk):
    on_disk.start().handle(admission(PLAN))
    with pytest.raises(FedprivError, match=f"waits with plan {PLAN.digest()}") as raised:
        approve(on_disk, "grant", RUN, "--plan", OTHER.digest())
    assert raised.value.code is ErrorCode.NO_SUCH_REQUEST


def test_a_person_who_does_not_say_yes_grants_nothing(on_disk):
    on_disk.start().handle(admission(PLAN))
    for typed in ("n\n", "\n", ""):
        assert "Aborted" in approve(on_disk, "grant", RUN, typed=typed)
    assert entries(on_disk) == []


@pytest.mark.parametrize("run_id", ["01J9ZZZZZZZZZZZZZZZZZZZZZY", "../ledger.db", ""])
def test_a_run_that_does_not_wait_cannot_be_approved(on_disk, run_id):
    on_disk.start().handle(admission(PLAN))
    for command in ("show", "grant", "deny"):
        with pytest.raises(FedprivError) as raised:
            approve(on_disk, command, run_id)
        assert raised.value.code is ErrorCode.NO_SUCH_REQUEST


def test_a_plan_over_the_policy_or_budget_is_refused_before_anyone_is_asked(on_disk):
    site = on_disk.start()
    assert site.handle(admission(plan_of(epsilon=3.5))).code == Refusal.POLICY_REFUSED
    on_disk.policy = Policy(approval=True, epsilon=0.4, max_run_epsilon=0.4)
    stingy = on_disk.start()
    stingy._policy = Policy(approval=True, epsilon=0.4).model_copy(update={"max_run_epsilon": 3.0})
    assert stingy.handle(admission(PLAN)).code == Refusal.BUDGET_EXHAUSTED
    assert on_disk.requests.all() == []


def test_a_run_that_would_not_fit_any_more_is_shown_as_such(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    (on_disk.ledger_path.parent / "policy.yaml").write_text("epsilon: 0.9\n")
    assert "ε 1.00 with this run, which is too much" in approve(on_disk, "show", RUN)


def test_a_server_that_asks_for_runs_without_end_fills_no_disk(on_disk):
    site = on_disk.start()
    names = [f"01J9ZZZZZZZZZZZZZZZZZZZ{number:03d}" for number in range(KEPT + 10)]
    for name in names:
        assert site.handle(admission(PLAN, name)).code == Refusal.APPROVAL_NEEDED
    kept = [request.run_id for request in on_disk.requests.all()]
    assert kept == names[: -KEPT - 1 : -1], "the newest are kept"
    files = list((on_disk.ledger_path.parent / "state" / "requests").iterdir())
    assert len(files) == KEPT
    assert max(path.stat().st_size for path in files) < 4096


def test_a_file_in_the_place_of_the_folder_loses_the_request_and_not_the_site(on_disk):
    (on_disk.ledger_path.parent / "state").write_text("")
    assert on_disk.start().handle(admission(PLAN)).code == Refusal.APPROVAL_NEEDED


def test_a_run_that_the_server_gives_up_waits_no_more(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    assert site.handle(Request(operation=Operation.CLOSE, run_id=RUN)).code == Refusal.NOT_ADMITTED
    assert on_disk.requests.all() == []


def test_who_approved_cannot_be_rewritten(on_disk):
    site = on_disk.start()
    site.handle(admission(PLAN))
    approve(on_disk, "grant", RUN, "--plan", PLAN.digest(), "--by", "me")
    site.handle(admission(PLAN))
    with sqlite3.connect(on_disk.ledger_path) as connection:
        connection.execute("DROP TRIGGER entries_fixed")
        forged = 'CAST(replace(CAST(body AS TEXT), \'"by":"me"\', \'"by":"he"\') AS BLOB)'
        assert connection.execute(f"UPDATE entries SET body = {forged} WHERE seq = 1").rowcount == 1  # noqa: S608
    with pytest.raises(FedprivError) as raised:
        Ledger.open(SqliteStore.open(on_disk.ledger_path), on_disk.marker)
    assert raised.value.code is ErrorCode.LEDGER_INVALID
