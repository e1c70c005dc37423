"""Every operation of the API under schemathesis: what its description allows and what it does not, over real HTTP.

Each answer is held to the description: status, media type, schema, headers; no 500, and nothing accepted that the
description refuses. Half of the path parameters are of runs and sites that are there. Once without keys, and once with
those of every role, a wrong one and none, so that 401, 403 and 429 are among the answers. SCHEMATHESIS_EXAMPLES: how
many inputs each operation gets; by default few, and the same each time.

Event streams never end, so they are left out here; test_metrics_api.py and test_many_viewers.py read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from jsonschema import Draft202012Validator
from schemathesis import Case, HookContext
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fedpriv_common.records import GLOBAL
from fedpriv_metrics.keyring import digest, new_key
from fedpriv_metrics.openapi import document
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.run_writer import START, Script, new_run_id, write_run

RUNS = (new_run_id(START), new_run_id(START))
KNOWN: dict[str, tuple[str, ...]] = {
    "run_id": RUNS,
    "site": ("site-1", "site-3", GLOBAL),
    "name": ("accuracy", "loss", "epsilon_spent"),
}
KEYS = {role: new_key() for role in ("coordinator", "site", "auditor")}
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))

schema = schemathesis.openapi.from_dict(document()).exclude(path_regex="/events$")
# 503 with Retry-After is a described answer: a plan that is still being computed.
schema.config.checks.not_a_server_error.expected_statuses = ["2xx", "3xx", "4xx", "503"]
# Too long a URL is refused before anybody looks at its parameters.
schema.config.checks.negative_data_rejection.expected_statuses = ["401", "403", "404", "414", "422", "429", "503"]


@schema.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the time something that is there, so that more than refusals is seen; what is not allowed is kept."""
    # By what was generated and not by chance: an input that fails must fail again.
    chosen = crc32(repr(path_parameters).encode())
    if not path_parameters or chosen % 2:
        return path_parameters
    return {
        name: KNOWN[name][chosen // 2 % len(KNOWN[name])]
        if name in KNOWN and fits(context.operation, name, value)
        else value
        for name, value in path_parameters.items()
    }


def fits(operation: Any, name: str, value: object) -> bool:
    """Whether the description allows this value of a path parameter."""
    described = next(entry["schema"] for entry in operation.definition.raw["parameters"] if entry["name"] == name)
    return Draft202012Validator(described).is_valid(value)


@pytest.fixture(scope="module")
def api(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    store = emulator.store()
    write_run(store, RUNS[0])
    write_run(store, RUNS[1], Script(earlier_runs={"site-1": 20}), upto=5)
    api = Api.over(store, emulator, tmp_path_factory.mktemp("operations") / "api", REQUESTS_PER_SECOND="0")
    with running(api) as started:
        yield started


@pytest.fixture(scope="module")
def keyed(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    store, folder = emulator.store(), tmp_path_factory.mktemp("keyed")
    write_run(store, RUNS[0])
    write_run(store, RUNS[1], upto=5)
    entries = [
        {"name": role, "role": role, "site": "site-1" if role == "site" else None, "sha256": digest(key)}
        for role, key in KEYS.items()
    ]
    file = folder / "keys.json"
    file.write_text(json.dumps({"keys": entries}))
    file.chmod(0o600)
    api = Api.over(
        store,
        emulator,
        folder / "api",
        AUTH="keys",
        KEYS_FILE=str(file),
        REQUESTS_PER_SECOND="40",
        REQUESTS_AT_ONCE="80",
    )
    with running(api) as started:
        yield started


attacked = settings(
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@schema.parametrize()
@attacked
def test_every_operation_answers_as_it_is_described(case: Case, api: Api) -> None:
    validate(case, api, {})


@schema.parametrize()
@attacked
def test_every_operation_answers_every_key_as_it_is_described(case: Case, keyed: Api) -> None:
    keys = [*KEYS.values(), "fpk_nobody-has-this-one", ""]
    key = keys[crc32(repr((case.path_parameters, case.query)).encode()) % len(keys)]
    validate(case, keyed, {"X-API-Key": key} if key else {})


def validate(case: Case, api: Api, headers: dict[str, str]) -> None:
    """Ask, and hold the answer to the description."""
    # That a cursor is one of ours, or that a plan's options go together, is more than a description can say.
    meant = {"cursor", "epsilons"} & set(case.query or ()) or case.operation.path == "/v1/plan"
    excluded = [positive_data_acceptance] if meant else []
    case.call_and_validate(base_url=api.url, headers=headers, excluded_checks=excluded)
