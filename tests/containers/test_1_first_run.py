"""`docker compose up`: the first run, what shows of it, and what it takes."""

from __future__ import annotations

import httpx
import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from playwright.sync_api import expect

from tests.containers.stack import Stack, docker
from tests.page.visits import chromium, visiting
from tests.waiting import until

#: Most memory that the processes of a container may ever have had, bytes; and most that an image may hold. What else
#: the engine counts for a container is page cache, which depends on what else the machine has read.
MEMORY = {"server": 300e6, "client": 600e6, "metrics-api": 120e6, "dashboard": 20e6}
IMAGE = {"server": 400e6, "client": 1.3e9, "metrics-api": 320e6, "dashboard": 100e6}

PEAK = """
for status in /proc/[0-9]*/status; do
  while read -r name size _; do if [ "$name" = VmHWM: ]; then echo $size; fi; done <$status
done
"""


def test_the_run_ends_well(stack: Stack) -> None:
    assert stack.exit_status(stack.container("run")) == 0
    assert "accuracy" in stack.must("logs", "run")
    until(stack.finished, "the end of the run in the metrics API")


def test_the_api_tells_of_it_through_the_page(stack: Stack) -> None:
    (run,) = stack.finished()
    assert (run["name"], run["sites"], run["round"]) == ("first", 3, run["rounds"])
    privacy = stack.get(f"/v1/runs/{run['run_id']}/privacy")
    assert {site["site"] for site in privacy["sites"]} == {"site-0", "site-1", "site-2"}


def test_the_page_shows_it_in_a_browser(stack: Stack) -> None:
    (run,) = stack.finished()
    with chromium() as browser, visiting(browser, f"{stack.page}/?run={run['run_id']}") as visit:
        expect(visit.page.get_by_text("finished", exact=False).first).to_be_visible()
        expect(visit.page.get_by_text("site-2", exact=True).first).to_be_visible()
        assert not visit.complaints
        assert not visit.elsewhere


@pytest.mark.parametrize("partition", [0, 1, 2])
def test_each_ledger_holds_the_run_and_another_accountant_finds_no_more_than_its_epsilon(
    stack: Stack, partition: int
) -> None:
    lines = stack.ledger(partition)
    assert {line["state"] for line in lines} == {"committed"}
    accountant = PLDAccountant()
    # Held-out records are no training records: what they lose is counted apart.
    (evaluation,) = [line for line in lines if line["mechanism"] == "geometric"]
    assert evaluation["epsilon_pure"] == 1.0
    for line in (line for line in lines if line["mechanism"] == "gaussian"):
        assert line["sample_rate"] == 1.0
        accountant.compose(GaussianDpEvent(line["noise_multiplier"]), line["steps"])
    assert 0.9 < accountant.get_epsilon(1e-5) <= 1.0


def test_partitions_without_a_site_released_nothing(stack: Stack) -> None:
    assert stack.ledger(3) == stack.ledger(4) == []


def test_a_run_that_has_ended_is_not_run_again(stack: Stack) -> None:
    before = stack.ledger(0)
    stack.must("up", "--detach", "--no-build")
    assert stack.exit_status(stack.container("run")) == 0
    assert "first has ended: finished" in stack.must("logs", "--tail", "5", "run")
    assert stack.ledger(0) == before
    assert len(stack.finished()) == 1


def test_the_page_has_its_headers_and_nothing_else_below_api(stack: Stack) -> None:
    with httpx.Client(base_url=stack.page, trust_env=False) as http:
        page = http.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-cache"
        assert page.headers["server"] == "nginx"
        script = page.text.split('src="./assets/')[1].split('"')[0]
        asset = http.get(f"/assets/{script}", headers={"Accept-Encoding": "gzip"})
        assert "immutable" in asset.headers["cache-control"]
        assert asset.headers["content-encoding"] == "gzip"
        assert asset.headers["content-security-policy"] == page.headers["content-security-policy"]
        assert http.get("/assets/none.js").status_code == 404
        missing = http.get("/api/v1/runs/01J9ZZZZZZZZZZZZZZZZZZZZZZ")
        assert missing.status_code == 404
        assert missing.headers["content-type"].startswith("application/problem+json")


def test_events_come_through_unbuffered(stack: Stack) -> None:
    """The stream's first bytes arrive although it never ends."""
    with (
        httpx.Client(base_url=stack.page, trust_env=False, timeout=10) as http,
        http.stream("GET", "/api/v1/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert next(answer.iter_bytes())


@pytest.mark.parametrize("service", MEMORY)
def test_no_container_ever_had_more_memory_than_stated(stack: Stack, service: str) -> None:
    peak = 1024 * sum(map(int, docker("exec", stack.container(service), "sh", "-c", PEAK).split()))
    print(f"{service}: {peak / 1e6:.0f} MB")
    assert 1e6 < peak <= MEMORY[service]


@pytest.mark.parametrize("service", IMAGE)
def test_no_image_is_larger_than_stated(service: str) -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", f"fedpriv/{service}"))
    print(f"{service}: {size / 1e6:.0f} MB")
    assert size <= IMAGE[service]
