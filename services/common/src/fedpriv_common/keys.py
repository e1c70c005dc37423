"""Where each object lives in the metrics bucket. Every key is written once.

    v1/runs/{run}/run.json  asked.json  admissions/{site}.json        what was planned, who was asked and answered
                  records/{round}/{site}.{phase}.json                 one release of a site, or the model's figures
                  rounds/{round}.json  evaluations/{round}.json       what a round came to
                  events/{event}.json  end.json                       what else happened, and how it ended
                  segments/{first}-{last}-{digest}.ndjson.zst         copies of all these, many in one object
                  manifests/{number}.json                             which segments count
                  checkpoints/  parts/  model.safetensors  statement.json   what the server goes on with and publishes

docs/explanation-records.md tells how they are written and read.
"""

from __future__ import annotations

from fedpriv_common.plan import Phase

RUNS = "v1/runs/"
TERMS = "v1/terms/"

#: How a record's key ends. Spelling an enumeration's member takes longer than the rest of the key, and the metrics API
#: spells a hundred thousand at its start.
_PHASES = {phase: f".{phase.value}.json" for phase in Phase}
#: Folders of a run whose keys name a round.
_BY_ROUND = ("records", "rounds", "evaluations")


def run_prefix(run_id: str) -> str:
    """Everything of one run."""
    return f"{RUNS}{run_id}/"


def run_info(run_id: str) -> str:
    """Settings and plan."""
    return f"{run_prefix(run_id)}run.json"


def run_asked(run_id: str) -> str:
    """Whom the run asks to take part."""
    return f"{run_prefix(run_id)}asked.json"


def run_admitted(run_id: str) -> str:
    """Who takes part, once nobody is waited for any more."""
    return f"{run_prefix(run_id)}admitted.json"


def admission(run_id: str, site: str) -> str:
    """A site's answer to the plan."""
    return f"{run_prefix(run_id)}admissions/{site}.json"


def record(run_id: str, round_number: int, site: str, phase: Phase) -> str:
    """One site's release in one round."""
    return f"{RUNS}{run_id}/records/{round_number:06d}/{site}{_PHASES[phase]}"


def round_closed(run_id: str, round_number: int) -> str:
    """The close of a round."""
    return f"{run_prefix(run_id)}rounds/{round_number:06d}.json"


def evaluation(run_id: str, round_number: int) -> str:
    """The model of a round on the sites' held-out records."""
    return f"{run_prefix(run_id)}evaluations/{round_number:06d}.json"


def event(run_id: str, event_id: str) -> str:
    """Something that happened between round closes."""
    return f"{run_prefix(run_id)}events/{event_id}.json"


def checkpoint(run_id: str, round_number: int) -> str:
    """Parameters and strategy state after a round."""
    return f"{run_prefix(run_id)}checkpoints/{round_number:06d}.safetensors"


def model(run_id: str) -> str:
    """The published model."""
    return f"{run_prefix(run_id)}model.safetensors"


def statement(run_id: str) -> str:
    """The privacy statement of the published model."""
    return f"{run_prefix(run_id)}statement.json"


def statement_page(run_id: str) -> str:
    """The same for people, as a page."""
    return f"{run_prefix(run_id)}statement.html"


def part(run_id: str, site: str) -> str:
    """A site's signed part of the statement."""
    return f"{run_prefix(run_id)}parts/{site}.json"


def run_decision(run_id: str) -> str:
    """How the run will end, before its sites are told."""
    return f"{run_prefix(run_id)}decision.json"


def run_end(run_id: str) -> str:
    """The run's terminal state."""
    return f"{run_prefix(run_id)}end.json"


def segment(run_id: str, first: int, last: int, digest: str) -> str:
    """Many objects of a run in one: those of rounds `first` to `last`, and what else came meanwhile.

    It carries the start of its content's SHA-256. Two servers that compact one run at one time may put different
    objects together; their segments do not get into each other's way, and the manifest says whose counts.
    """
    return f"{run_prefix(run_id)}segments/{first:06d}-{last:06d}-{digest[:16]}.ndjson.zst"


def manifest_prefix(run_id: str) -> str:
    """Every manifest of a run; the highest one counts."""
    return f"{run_prefix(run_id)}manifests/"


def manifest(run_id: str, number: int) -> str:
    """Which segments a run has, counted from 1."""
    return f"{manifest_prefix(run_id)}{number:06d}.json"


def manifest_number(key: str) -> int | None:
    """The number of the manifest under `key`; None when it is none."""
    number = key.rpartition("/manifests/")[2].removesuffix(".json")
    return int(number) if len(number) == 6 and number.isdecimal() and number.isascii() else None


def witness(site: str, dataset: str, seq: int) -> str:
    """A ledger head that the server has seen of a site; the highest one counts."""
    return f"{witness_prefix(site, dataset)}{seq:012d}.json"


def witness_prefix(site: str, dataset: str) -> str:
    """Every head seen of a site's ledger for a data set."""
    return f"v1/witness/{site}/{dataset}/"


def allow_list(event_id: str) -> str:
    """Who was on the allow-list from a moment on; `event_id` is a ULID."""
    return f"v1/allow-list/{event_id}.json"


def term(number: int) -> str:
    """The start of a server, counted from 1."""
    return f"{TERMS}{number:012d}.json"


def is_checkpoint(key: str) -> bool:
    """Whether a key is one of `checkpoint`."""
    return key.startswith(RUNS) and "/checkpoints/" in key


def is_manifest(key: str) -> bool:
    """Whether a key is one of `manifest`."""
    return key.startswith(RUNS) and "/manifests/" in key


def run_of(key: str) -> str | None:
    """The id of the run that a key is of; None for a key of no run."""
    return key.removeprefix(RUNS).partition("/")[0] if key.startswith(RUNS) else None


def round_of(key: str) -> int | None:
    """The round in the key of a record, a round's close or an evaluation; None for another key."""
    parts = key.removeprefix(RUNS).split("/")
    number = parts[2].removesuffix(".json") if len(parts) > 2 and parts[1] in _BY_ROUND else ""
    return int(number) if len(number) == 6 and number.isdecimal() and number.isascii() else None


def site_of(key: str) -> str | None:
    """The site in the key of a record or an admission; None for another key."""
    parts = key.removeprefix(RUNS).split("/")
    if len(parts) > 2 and parts[1] in ("records", "admissions"):
        return parts[-1].partition(".")[0]
    return None


def ends_run(key: str) -> bool:
    """Whether a key is one of `run_decision` or `run_end`."""
    return key.startswith(RUNS) and key.endswith(("/decision.json", "/end.json"))
