"""What came of a run: a table for a person, `results/demo.json` for a machine. Read from the metrics API, so that
the terminal says what the page says."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from fedpriv_common import keys
from fedpriv_common.records import RunState
from fedpriv_common.rounding import spell_limit, spell_spent
from fedpriv_metrics.models.privacy import RunPrivacy, SitePrivacy
from fedpriv_metrics.models.runs import HeldOut, RunDetail
from fedpriv_server.provision.files import replace
from scripts.demo import ready
from scripts.demo.settings import BUCKET, HOST, SITES, Places, Ports

_API_DEADLINE_S = 30.0

Answer = TypeVar("Answer", bound=BaseModel)


class Result(BaseModel):
    """`results/demo.json`."""

    class Site(BaseModel):
        """One site's cost; `ledger` is the path of its exported ledger."""

        site: str
        epsilon_run: float
        epsilon_spent: float
        ledger: str

    run_id: str
    epsilon_target: float
    delta: float
    sites: list[Site]
    rounds: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    held_out: HeldOut | None
    duration_s: float | None
    median_round_ms: float | None
    model: str
    statement: str
    statement_page: str
    verify: str


def read_run(ports: Ports, run_id: str, check: Callable[[], None]) -> tuple[RunDetail, RunPrivacy]:
    """The run's end as the metrics API tells it, waiting until it has seen it."""
    url = f"http://{HOST}:{ports.api}/v1/runs/{run_id}"
    found: list[tuple[RunDetail, RunPrivacy]] = []

    def ended() -> bool:
        run = _get(url, RunDetail)
        if run is None or run.state is RunState.ACTIVE:
            return False
        privacy = _get(f"{url}/privacy", RunPrivacy)
        if privacy is not None:
            found.append((run, privacy))
        return bool(found)

    ready.until(ended, "The end of the run in the metrics API", deadline=_API_DEADLINE_S, check=check)
    return found[0]


def write_result(places: Places, run: RunDetail, privacy: RunPrivacy, ledgers: dict[str, str]) -> None:
    """Write the machine's result, whole or not at all."""
    result = Result(
        run_id=run.run_id,
        epsilon_target=run.epsilon_target,
        delta=run.delta,
        sites=[
            Result.Site(
                site=site.site,
                epsilon_run=_last(site.epsilon_run),
                epsilon_spent=_last(site.epsilon_spent),
                ledger=ledgers[site.site],
            )
            for site in privacy.sites
        ],
        rounds=run.rounds,
        accuracy=run.accuracy,
        accuracy_interval=run.accuracy_interval,
        held_out=run.held_out,
        duration_s=run.duration_s,
        median_round_ms=run.median_round_ms,
        model=_uri(keys.model(run.run_id)),
        statement=_uri(keys.statement(run.run_id)),
        statement_page=str(_exported(places, keys.statement_page(run.run_id))),
        verify=shlex.join(verify_command(places, run.run_id)),
    )
    replace(_result_path(places), (json.dumps(result.model_dump(mode="json"), indent=2) + "\n").encode())


def export_statement(places: Places, run_id: str) -> None:
    """Copy the run's privacy statement, its page and the model from the bucket to results, for who checks them."""
    for key in (keys.statement(run_id), keys.statement_page(run_id), keys.model(run_id)):
        replace(_exported(places, key), places.object(BUCKET, key).read_bytes())


def verify_command(places: Places, run_id: str) -> list[str]:
    """What an auditor types: the files of `export_statement`, and the keys that provisioning left for auditors."""
    sites = places.hub.auditor / "sites"
    return [
        near(Path(sys.executable).parent / "fedpriv"),
        "verify",
        near(_exported(places, keys.statement(run_id))),
        f"--model={near(_exported(places, keys.model(run_id)))}",
        f"--hub-key={near(places.hub.statement_public_key)}",
        *(f"--site-key={site}={near(sites / f'{site}.pem')}" for site in SITES),
    ]


def print_result(
    console: Console,
    places: Places,
    ports: Ports,
    run: RunDetail,
    privacy: RunPrivacy,
    ledgers: dict[str, str],
    *,
    once: bool,
) -> None:
    """Print what the run cost each site, what it reached and where everything is."""
    took = "" if run.duration_s is None else f" in {run.duration_s:.1f} s"
    median = "" if run.median_round_ms is None else f", median round {run.median_round_ms:.0f} ms"
    console.print(f"\n[bold]Run {run.run_id} {run.state.value}: {run.round} rounds{took}{median}[/]\n", soft_wrap=True)

    table = Table("site", "ε of this run", "ε of its lifetime", "limit", box=None, pad_edge=False)
    table.add_column("ledger", overflow="fold")  # a path that is cut is of no use
    for site in privacy.sites:
        table.add_row(*_site_row(site, run.epsilon_target), near(Path(ledgers[site.site])))
    console.print(table, "", sep="\n")

    lines = {"privacy": f"δ {_power(run.delta)}, {privacy.adjacency} one {privacy.unit}, at each site"}
    if run.accuracy is not None:
        lines["accuracy"] = f"{_percent(run.accuracy)}{_interval(run)}"
    if run.held_out is not None and run.held_out.figures:
        lines["held out"] = f"{_held_out(run.held_out)}, on {len(run.held_out.sites)} sites' own records"
    if run.auc is not None:
        lines["AUC"] = f"{run.auc:.3f}"
    lines |= {
        "model": _uri(keys.model(run.run_id)),
        "records": near(places.object(BUCKET, keys.run_prefix(run.run_id))),
        "result": near(_result_path(places)),
        "statement": f"{near(_exported(places, keys.statement_page(run.run_id)))}, signed by hub and sites. Check it:",
        "": shlex.join(verify_command(places, run.run_id)),
        "dashboard": f"http://{HOST}:{ports.dashboard}/?run={run.run_id}",
    }
    if once:
        lines["dashboard"] += " while the demo is up: run it without ONCE=1"
    else:
        lines["records"] += (
            f", or: aws --endpoint-url http://{HOST}:{ports.aws} --no-sign-request "
            f"s3 ls --recursive {_uri(keys.run_prefix(run.run_id))}"
        )
    for name, value in lines.items():
        console.print(f"{name:<11}{value}", soft_wrap=True, highlight=False)


def _site_row(site: SitePrivacy, target: float) -> tuple[str, str, str, str]:
    limit = "–" if site.epsilon_limit is None else spell_limit(site.epsilon_limit)
    run, lifetime = spell_spent(_last(site.epsilon_run)), spell_spent(_last(site.epsilon_spent))
    return site.site, f"{run} of {spell_limit(target)}", lifetime, limit


def _interval(run: RunDetail) -> str:
    if run.accuracy_interval is None or run.public_validation is None:
        return ""
    low, high = run.accuracy_interval
    size = run.public_validation.size
    return f" (95 % interval {_percent(low)} to {_percent(high)}; {size} public records that no site holds)"


def _held_out(evaluation: HeldOut) -> str:
    """Each end rounded to its own side: an interval is never told narrower than it is."""
    accuracy = evaluation.figures["accuracy"]
    value = "" if accuracy.value is None else f"{_percent(accuracy.value)}, "
    confidence = f"{100 * evaluation.confidence:.0f} %"
    return f"{value}{math.floor(100 * accuracy.low)} to {math.ceil(100 * accuracy.high)} % with {confidence} confidence"


def _exported(places: Places, key: str) -> Path:
    return places.results / key.rpartition("/")[2]


def _result_path(places: Places) -> Path:
    return places.results / "demo.json"


def _power(delta: float) -> str:
    """1e-5, not 1e-05."""
    mantissa, exponent = f"{delta:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}" if float(f"{delta:.0e}") == delta else f"{delta:g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _last(column: list[float]) -> float:
    return column[-1] if column else 0.0


def near(path: Path) -> str:
    """The path from here if it is below, else whole."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _uri(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


def _get(url: str, model: type[Answer]) -> Answer | None:
    body = ready.read(url)
    return None if body is None else model.model_validate_json(body)
