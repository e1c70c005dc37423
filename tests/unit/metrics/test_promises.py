"""What `/v1` promised is kept: the baseline against this version, and every kind of broken promise is found."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedpriv_metrics import openapi
from fedpriv_metrics.models.problem import ProblemCode
from fedpriv_metrics.problems import STATUS
from fedpriv_metrics.promises import breaking_changes

ROOT = Path(__file__).parents[3]
BASELINE = ROOT / "services" / "metrics-api" / "openapi.v1.json"
DASHBOARD = ROOT / "dashboard"
REFERENCE = (ROOT / "docs" / "reference" / "api.md").read_text()
Document = dict[str, Any]


def test_nothing_is_taken_away_from_those_who_rely_on_v1() -> None:
    assert breaking_changes(json.loads(BASELINE.read_text()), openapi.document()) == []


def parameter(document: Document, path: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document["paths"][path]["get"]["parameters"] if each["name"] == name)
    return found


def schema(document: Document, name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


RUNS = "/v1/runs"
BROKEN: dict[str, Callable[[Document], object]] = {
    "GET /v1/runs: is gone": lambda it: it["paths"].pop(RUNS),
    "parameter limit: is gone": lambda it: it["paths"][RUNS]["get"]["parameters"].remove(parameter(it, RUNS, "limit")),
    "parameter limit: is required now": lambda it: parameter(it, RUNS, "limit").update(required=True),
    "parameter limit: maximum is tighter": lambda it: parameter(it, RUNS, "limit")["schema"].update(maximum=100),
    "parameter limit: minimum is tighter": lambda it: parameter(it, RUNS, "limit")["schema"].update(minimum=2),
    "parameter limit: no longer takes integer": lambda it: parameter(it, RUNS, "limit")["schema"].update(type="string"),
    "parameter limit: default is another": lambda it: parameter(it, RUNS, "limit")["schema"].update(default=20),
    "parameter limit: takes only some": lambda it: parameter(it, RUNS, "limit")["schema"].update(enum=[50]),
    "parameter new: is new and required": lambda it: it["paths"][RUNS]["get"]["parameters"].append(
        {"name": "new", "in": "query", "required": True, "schema": {"type": "string"}}
    ),
    "parameter cursor: no longer takes null": lambda it: parameter(it, RUNS, "cursor")["schema"]["anyOf"].pop(),
    "RunSummary.name: is gone": lambda it: schema(it, "RunSummary")["properties"].pop("name"),
    "RunSummary.name: may be missing": lambda it: schema(it, "RunSummary")["required"].remove("name"),
    "RunSummary.name: may be null": lambda it: schema(it, "RunSummary")["properties"].update(
        name={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "RunSummary.round: may be number": lambda it: schema(it, "RunSummary")["properties"]["round"].update(type="number"),
    "schema StreamEvent: is gone": lambda it: it["components"]["schemas"].pop("StreamEvent"),
    "RunState: is never failed any more": lambda it: schema(it, "RunState")["enum"].remove("failed"),
    "no longer answered in text/csv": lambda it: it["paths"]["/v1/runs/{run_id}/records"]["get"]["responses"]["200"][
        "content"
    ].pop("text/csv"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_found(what: str) -> None:
    before = openapi.document()
    after = copy.deepcopy(before)
    BROKEN[what](after)
    assert [line for line in breaking_changes(before, after) if what in line], what


ADDED: dict[str, Callable[[Document], object]] = {
    "a route": lambda it: it["paths"].update({"/v1/new": it["paths"][RUNS]}),
    "an optional parameter": lambda it: it["paths"][RUNS]["get"]["parameters"].append(
        {"name": "new", "in": "query", "schema": {"type": "string"}}
    ),
    "a field": lambda it: schema(it, "RunSummary")["properties"].update(new={"type": "string"}),
    "a wider bound": lambda it: parameter(it, RUNS, "limit")["schema"].update(maximum=500),
    "words": lambda it: it["paths"][RUNS]["get"].update(description="other words"),
}


@pytest.mark.parametrize("what", ADDED)
def test_an_addition_breaks_nothing(what: str) -> None:
    after = copy.deepcopy(openapi.document())
    ADDED[what](after)
    assert breaking_changes(openapi.document(), after) == []


def test_the_pages_types_are_those_of_the_committed_description(tmp_path: Path) -> None:
    generator = DASHBOARD / "node_modules" / ".bin" / "openapi-typescript"
    fresh = tmp_path / "schema.d.ts"
    description = ROOT / "services" / "metrics-api" / "openapi.json"
    subprocess.run([generator, description, "--output", fresh], check=True, capture_output=True, timeout=60)
    assert fresh.read_text() == (DASHBOARD / "src" / "api" / "schema.d.ts").read_text(), "run: npm run api"


def test_the_reference_lists_every_route_and_every_problem() -> None:
    routes = re.search(r"^## Routes\n(.*?)^## ", REFERENCE, re.M | re.S)
    assert routes is not None
    assert set(re.findall(r"^\| `(/[^`]*)` \|", routes[1], re.M)) == set(openapi.document()["paths"])
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d{3}) \|", REFERENCE, re.M))
    assert told == {code.value: str(STATUS[code]) for code in ProblemCode}
