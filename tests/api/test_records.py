"""A run's records through real API processes, as a program, a spreadsheet and the documentation get them."""

from __future__ import annotations

import csv
import io
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedpriv_common.records import MetricRecord
from fedpriv_common.store import ObjectStore
from fedpriv_metrics.records import key_of
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.run_writer import new_run_id, run_steps, write_run, write_steps
from tests.waiting import until

GUIDE = Path(__file__).parents[2] / "docs" / "how-to-export.md"


@pytest.fixture(scope="module")
def bucket(emulator: Emulator) -> ObjectStore:
    return emulator.store()


@pytest.fixture(scope="module")
def run_id(bucket: ObjectStore) -> str:
    return write_run(bucket)


@pytest.fixture(scope="module")
def api(
    bucket: ObjectStore, run_id: str, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    with running(Api.over(bucket, emulator, tmp_path_factory.mktemp("records") / "log")) as api:
        until(lambda: api.json(f"/v1/runs/{run_id}/records?limit=1")["complete_round"] is None, "the settled run", 20)
        yield api


def written(run_id: str) -> list[MetricRecord]:
    """What `write_run` wrote, in the order of records."""
    objects = [value for _, step in run_steps(run_id) for value in step.values()]
    return sorted((value for value in objects if isinstance(value, MetricRecord)), key=key_of)


def test_every_format_holds_what_was_written(api: Api, run_id: str) -> None:
    expected = written(run_id)
    path = f"/v1/runs/{run_id}/records"
    answer = api.get(path)
    assert answer.headers["content-type"] == "application/json"
    assert [MetricRecord.model_validate(record) for record in answer.json()["records"]] == expected
    assert answer.json()["next_cursor"] is None
    assert api.get(path, **{"If-None-Match": answer.headers["etag"]}).status_code == 304
    lines = api.get(path, Accept="application/x-ndjson")
    assert [MetricRecord.model_validate_json(line) for line in lines.text.splitlines()] == expected
    table = api.get(f"{path}?format=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert table.headers["content-disposition"] == f'attachment; filename="breast-cancer-{run_id}.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert [(int(row["round"]), row["site"], row["phase"]) for row in rows] == [
        (record.round, record.site, record.phase.value) for record in expected
    ]
    assert "link" not in table.headers
    page = api.get(f"{path}?format=csv&limit=20&site=site-1")
    assert "link" not in page.headers
    page = api.get(f"{path}?format=csv&limit=5&site=site-1")
    following = re.fullmatch(r'<(.*)>; rel="next"', page.headers["link"])
    assert following is not None
    rest = api.get(following[1].replace("limit=5", "limit=100"))
    assert page.text + rest.text.split("\r\n", 1)[1] == api.get(f"{path}?format=csv&site=site-1").text


def test_a_reader_goes_on_through_restarts_and_late_records(
    bucket: ObjectStore, emulator: Emulator, tmp_path: Path
) -> None:
    run = new_run_id()
    steps = write_steps(bucket, run)
    got: list[dict[str, object]] = []
    cursor = "start"

    def read(api: Api) -> int:
        nonlocal cursor
        while True:
            page = api.json(f"/v1/runs/{run}/records?limit=7&cursor={cursor}")
            got.extend(page["records"])
            cursor = page["next_cursor"] or cursor
            if not page["more"]:
                return -1 if page["complete_round"] is None else int(page["complete_round"])

    for step in steps:
        if step == "round 4":
            break
    with (
        running(Api.over(bucket, emulator, tmp_path / "one")) as one,
        running(Api.over(bucket, emulator, tmp_path / "other")) as other,
    ):
        assert until(lambda: read(one) == 4, "round 4")
        one.end(signal.SIGKILL)
        for step in steps:
            if step == "round 6":
                break
        assert until(lambda: read(other) == 6, "round 6")
        one.start()
        assert read(one) in (4, 5, 6)
        for _ in steps:
            pass
        assert until(lambda: read(one) == -1, "the end")
    assert [MetricRecord.model_validate(record) for record in got] == written(run)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("cursor=12", 422),
        ("cursor=1/site-1/done", 422),
        ("cursor=99999/zzz/evaluate", 200),
        ("limit=0", 422),
        ("limit=5001", 422),
        ("format=xlsx", 422),
        ("site=site-9", 404),
        ("site=Site", 422),
    ],
)
def test_bad_input_is_told_and_nothing_else_is(api: Api, run_id: str, query: str, status: int) -> None:
    answer = api.get(f"/v1/runs/{run_id}/records?{query}")
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_guide_does_what_it_says(api: Api, run_id: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    shell = "\n".join(text for language, text in blocks if language == "sh")
    # Another test's run may be the newest.
    shell = shell.replace("API=http://127.0.0.1:8000", f"API={api.url}")
    shell = re.sub(r"RUN=\$\(.*\)", f"RUN={run_id}", shell)
    script = subprocess.run(
        ["bash", "-euc", shell], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert script.returncode == 0, script.stderr
    assert '"next_cursor":"5/global/evaluate"' in script.stdout
    assert len((tmp_path / "run.ndjson").read_text().splitlines()) == len(written(run_id))
    python = [text for language, text in blocks if language == "python" and "pandas" not in text]
    for text in python:
        ran = subprocess.run(
            [sys.executable, "-c", f"{text}\nprint(worst)"],
            check=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert float(ran.stdout) == max(record.facts.epsilon_spent for record in written(run_id) if record.facts)
