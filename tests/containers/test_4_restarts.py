"""Down, up, crashes of what is not the product, half-made volumes: nothing is lost, nothing is spent twice."""

from __future__ import annotations

import time

import pytest

from fedpriv_common.errors import EXIT_STATUS, ErrorCode
from tests.containers.stack import STARTS, Stack, docker
from tests.waiting import until


@pytest.fixture(scope="module", autouse=True)
def up(stack: Stack) -> None:
    """Three sites, whatever came before."""
    stack.up(sites=3)
    stack.settled(3)


def objects(stack: Stack, prefix: str) -> dict[str, str]:
    """Digest by key of the bucket's objects."""
    code = (
        "import hashlib; from fedpriv_common.store import ObjectStore\n"
        f"s = ObjectStore.connect('fedpriv-metrics', '')\n"
        f"for k in s.list_keys({prefix!r}): print(k, hashlib.sha256(s.get(k)).hexdigest())"
    )
    return dict(line.split() for line in stack.python(stack.container("server"), code).splitlines())


def test_down_and_up_keep_everything_and_a_second_run_composes(stack: Stack) -> None:
    ledgers = [stack.ledger(number) for number in range(5)]
    runs, stored = stack.finished(), objects(stack, "v1/runs/")
    assert any(key.endswith("model.safetensors") for key in stored)
    stack.down()
    stack.up(sites=3)
    stack.settled(3)
    assert stack.exit_status(stack.container("run")) == 0  # the first run has ended: nothing to do
    assert [stack.ledger(number) for number in range(5)] == ledgers
    assert objects(stack, "v1/runs/") == stored
    until(lambda: len(stack.finished()) == len(runs), "the API knows the runs again")
    assert stack.finished() == runs

    run_id = stack.run("--name=again", "--epsilon=0.5")
    until(lambda: any(run["run_id"] == run_id for run in stack.finished()), "the API knows the new run")
    for site in stack.get(f"/v1/runs/{run_id}/privacy")["sites"]:
        assert site["epsilon_run"][-1] <= 0.5
        assert site["epsilon_spent"][-1] > site["epsilon_run"][-1]
    assert stored.items() <= objects(stack, "v1/runs/").items()


def test_a_restart_of_the_emulator_ends_nothing(stack: Stack) -> None:
    stack.must("restart", "aws")
    stack.run("--name=after-a-restart", "--epsilon=0.1")


def test_an_emulator_that_crashed_and_lost_its_keys_and_leases_is_repaired_by_up(stack: Stack) -> None:
    ledgers = [stack.ledger(number) for number in range(5)]
    stack.kill_inside(stack.container("aws"))
    # Before it can be repaired, the emulator answers again; sites that find no lease table say so and stand by.
    until(lambda: stack.inspect(stack.container("aws"))["State"]["Health"]["Status"] == "healthy", "an emulator", 60)
    stack.up(sites=3)
    until(lambda: len({stack.partition(name) for name in stack.sites()} - {None}) == 3, "three partitions", STARTS)
    stack.run("--name=after-a-crash", "--epsilon=0.1")
    assert [len(stack.ledger(number)) >= len(before) for number, before in enumerate(ledgers)] == [True] * 5


def test_a_site_that_finds_no_lease_table_says_so_and_stands_by(stack: Stack) -> None:
    delete = "import boto3; boto3.client('dynamodb').delete_table(TableName='fedpriv-leases')"
    stack.python(stack.container("server"), delete)
    first = stack.sites()[0]
    until(
        lambda: any(
            "Lease table fedpriv-leases" in e["message"] and "provision" in e["message"] for e in stack.log(first)
        ),
        "a line that says what is missing and what makes it",
        STARTS,
    )
    stack.up(sites=3)
    until(lambda: len({stack.partition(name) for name in stack.sites()} - {None}) == 3, "three partitions", STARTS)


@pytest.mark.parametrize("service", ["server", "metrics-api", "dashboard"])
def test_a_service_that_was_killed_comes_back_and_training_goes_on(stack: Stack, service: str) -> None:
    container, runs = stack.container(service), len(stack.finished())
    stack.kill_inside(container)
    until(lambda: stack.inspect(container)["RestartCount"] > 0, "the engine starts it again")
    until(lambda: stack.inspect(container)["State"]["Health"]["Status"] == "healthy", "it is healthy", STARTS)
    stack.run(f"--name=after-the-{service}", "--epsilon=0.1")
    until(lambda: len(stack.finished()) == runs + 1, "all runs and the new one in the API")


def test_a_site_that_keeps_failing_is_not_taken_for_healthy(stack: Stack) -> None:
    """A ledger that is gone makes whoever takes its partition end; what checks its health must not call that well."""
    names = stack.must("ps", "--format", "{{.Name}}", "client").split()
    hide = "import os; os.rename('/var/lib/fedpriv/ledgers/{0}/ledger.sqlite', '/var/lib/fedpriv/ledgers/{0}/hidden')"
    show = "import os; os.rename('/var/lib/fedpriv/ledgers/{0}/hidden', '/var/lib/fedpriv/ledgers/{0}/ledger.sqlite')"
    victim, keeper = names[0], names[1]
    (free,) = {0, 1, 2, 3} - {stack.partition(name) for name in names}
    for number in (free, 4):
        stack.python(keeper, hide.format(number))
    partition = stack.partition(victim)
    stack.python(keeper, hide.format(partition))
    since = str(time.time())
    try:
        stack.kill_inside(victim)
        until(lambda: stack.inspect(victim)["RestartCount"] > 3, "it fails again and again", STARTS)
        span = ("--since", since, "--until", str(time.time()))
        told = docker("events", *span, "--filter", f"container={victim}", "--filter", "type=container")
        assert told.count(" container die ") >= 3
        assert "health_status: healthy" not in told
        assert "LEDGER_MISSING: There is no ledger at" in stack.must("logs", "client")
    finally:
        for number in (free, 4, partition):
            stack.python(keeper, show.format(number))
    until(lambda: stack.inspect(victim)["State"]["Health"]["Status"] == "healthy", "it is well again", STARTS)


def test_a_half_finished_init_is_finished_by_the_next(stack: Stack) -> None:
    remove = (
        "import os\n"
        "for path in ('/hub/server/server.pem', '/hub/server/operator.sha256', '/hub/operator/ca.pem'):\n"
        "    os.remove(path)"
    )
    before = stack.must("run", "--rm", "-T", "init", "python", "-c", "print(open('/hub/authority/ca.pem').read())")
    stack.must("run", "--rm", "-T", "init", "python", "-c", remove)
    stack.up(sites=3)
    after = stack.must("run", "--rm", "-T", "init", "python", "-c", "print(open('/hub/authority/ca.pem').read())")
    assert before == after
    stack.must("restart", "server")
    stack.run("--name=after-half-an-init", "--epsilon=0.1")


def test_a_ledger_that_was_lost_is_refused_and_not_begun_anew(stack: Stack) -> None:
    hide = "import os; os.rename('/var/lib/fedpriv/ledgers/4/ledger.sqlite', '/var/lib/fedpriv/ledgers/4/hidden')"
    show = "import os; os.rename('/var/lib/fedpriv/ledgers/4/hidden', '/var/lib/fedpriv/ledgers/4/ledger.sqlite')"
    first = stack.sites()[0]
    stack.python(first, hide)
    try:
        done = stack.compose("run", "--rm", "-T", "init-sites")
        assert done.status == EXIT_STATUS[ErrorCode.LEDGER_MISSING]
        assert "LEDGER_MISSING: There is no ledger at /var/lib/fedpriv/ledgers/4/ledger.sqlite" in done.output
    finally:
        stack.python(first, show)
    stack.must("run", "--rm", "-T", "init-sites")


def test_a_volume_of_another_version_is_refused_and_left_alone(stack: Stack) -> None:
    server = stack.container("server")
    stack.python(server, "open('/var/lib/fedpriv/form', 'w').write('2')")
    try:
        stack.must("stop", "server")
        done = stack.compose("run", "--rm", "-T", "server")
        assert done.status == EXIT_STATUS[ErrorCode.OTHER_VERSION]
        assert "OTHER_VERSION: FEDPRIV_STATE_DIR: /var/lib/fedpriv holds form '2'" in done.output
    finally:
        stack.must("run", "--rm", "-T", "server", "python", "-c", "open('/var/lib/fedpriv/form', 'w').write('1')")
        stack.must("start", "server")
        until(lambda: stack.inspect(server)["State"]["Health"]["Status"] == "healthy", "a healthy server", STARTS)


def test_stopping_is_orderly_and_down_with_volumes_leaves_nothing(stack: Stack) -> None:
    stack.must("stop")
    for service in ("server", "client", "metrics-api", "dashboard", "aws"):
        state = stack.inspect(stack.container(service))["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False), service
    assert any(entry["message"] == "partition_released" for entry in stack.log(stack.container("client")))
    stack.down("--volumes")
    label = f"label=com.docker.compose.project={stack.project}"
    assert docker("ps", "--all", "--quiet", "--filter", label) == ""
    assert docker("volume", "ls", "--quiet", "--filter", label) == ""
    assert docker("network", "ls", "--quiet", "--filter", label) == ""
