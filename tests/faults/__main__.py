"""`python -m tests.faults`: strike, and look at what is left. Outcomes go to var/results/faults.json.

It needs Docker and the images that `docker compose build` makes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.containers.stack import ROOT
from tests.faults.cases import SITES, Case, all_cases, choose, few
from tests.faults.checks import (
    agreed_epsilon,
    check_api,
    check_bite,
    check_conflicts,
    check_end,
    check_ledger,
    check_records,
    check_statement,
)
from tests.faults.stack import FaultStack, Stored
from tests.faults.strike import struck
from tests.waiting import until

RESULTS: Final = ROOT / "var" / "results" / "faults.json"
#: Seconds until the moment comes, and until the run has ended.
MOMENT_S, ENDS_S = 60.0, 180.0
_DELTA: Final = 1e-5


def main() -> int:
    """Exit status 0 when every case passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the cases and do nothing")
    parser.add_argument("--few", action="store_true", help="six of them, in about four minutes")
    parser.add_argument("-k", "--case", action="append", default=[], metavar="WORD", help="cases whose name holds it")
    parser.add_argument("--keep", action="store_true", help="leave the containers for a look")
    parser.add_argument("--used", action="store_true", help="strike the containers that --keep left")
    parser.add_argument(
        "--project", default="fedpriv-faults", help="of docker compose; one that is there by this name is removed first"
    )
    options = parser.parse_args()
    cases = choose(few(all_cases()) if options.few else all_cases(), options.case)
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    stack = FaultStack(options.project)
    began = time.monotonic()
    if options.used:
        stack.adopt()
    else:
        stack.begin()
    try:
        outcomes = Suite(stack).run(cases)
    finally:
        if not options.keep:
            stack.down("--volumes", "--remove-orphans")
    passed = sum(outcome["passed"] for outcome in outcomes)
    print(f"{passed} of {len(outcomes)} cases passed in {(time.monotonic() - began) / 60:.1f} minutes: {RESULTS}")
    return 0 if outcomes and passed == len(outcomes) else 1


class Suite:
    """Cases on one stack, one after another; a ledger that failed one case is the next one's too."""

    def __init__(self, stack: FaultStack) -> None:
        self._stack = stack
        self._outcomes: list[dict[str, Any]] = []
        self._runs: dict[str, dict[str, Stored]] = {}

    def run(self, cases: list[Case]) -> list[dict[str, Any]]:
        """Every case, then the ledgers over all of them."""
        with tempfile.TemporaryDirectory() as folder:
            self._stack.settle()
            self._stack.auditor_keys(Path(folder))
            for number, case in enumerate(cases, 1):
                outcome = self._one(number, case, Path(folder))
                mark = "passed" if outcome["passed"] else "FAILED"
                print(
                    f"{number:3}/{len(cases)} {mark} {case.name}: {outcome['outcome']}, {outcome['seconds']} s"
                    f"{'' if outcome['passed'] else ': ' + outcome['reason']}",
                    flush=True,
                )
                self._write()
        self._ledgers()
        self._write()
        return self._outcomes

    def _one(self, number: int, case: Case, folder: Path) -> dict[str, Any]:
        began = time.monotonic()
        outcome: dict[str, Any] = {
            **{name: getattr(case, name) for name in ("target", "fault", "when", "round", "quorum")},
            **{"outcome": "none", "passed": False, "seconds": 0.0, "reason": "", "run_id": ""},
        }
        self._outcomes.append(outcome)
        try:
            self._strike(number, case, folder, outcome)
            outcome["passed"] = True
        except Exception as error:  # whatever went wrong belongs to this case
            outcome["reason"] = f"{type(error).__name__}: {error}"[:2000]
        outcome["seconds"] = round(time.monotonic() - began, 1)
        return outcome

    def _strike(self, number: int, case: Case, folder: Path, outcome: dict[str, Any]) -> None:
        stack = self._stack
        services = stack.settle()
        held = list(services.values()) if case.when in ("training", "committed") else ["server"]
        target = {"emulator": "aws", **services}.get(case.target, case.target)
        # When the block ends, everybody goes on at once but whoever is struck, for as long as the fault lasts.
        with ExitStack() as fault, stack.armed(held, case) as reached:
            following = stack.follow(case, f"case-{number}")
            try:
                reached(MOMENT_S)
            except AssertionError:
                following.kill()
                raise AssertionError(f"the moment did not come: {following.communicate()[0][-500:]}") from None
            struck_at = datetime.now(UTC)
            fault.enter_context(struck(stack, case, target))
        output, _ = following.communicate(timeout=ENDS_S)
        run_id = next((line for line in output.splitlines() if len(line) == 26 and line.isalnum()), "")
        outcome["run_id"] = run_id
        outcome["outcome"] = output.strip().splitlines()[-1][:200] if output.strip() else "nothing said"
        if not run_id:
            raise AssertionError(f"no run: {output[-500:]}")
        stored = until(
            lambda: found if f"v1/runs/{run_id}/end.json" in (found := stack.objects(f"v1/runs/{run_id}/")) else None,
            "the run's end in the bucket",
            60.0,
            0.2,
        )
        self._runs[run_id] = stored
        end = check_end(run_id, stored)
        outcome["outcome"] = f"{end.state.value} ({end.cause.value}), {end.rounds} rounds"
        if (following.returncode == 0) is not (end.state.value == "finished"):
            raise AssertionError(f"fedpriv run --follow ended with {following.returncode}: {output[-500:]}")
        since = [entry for entry in stack.log(stack.named(target)) if entry.get("at", "") >= struck_at.isoformat()]
        told = {str(entry.get(name)) for entry in since for name in ("message", "code")}
        check_bite(case, run_id, end, struck_at, stored, told)
        rounds = check_records(run_id, end, stored)
        until(lambda: (stack.asked(f"/v1/runs/{run_id}") or {}).get("state") == end.state.value, "the API's end", 60.0)
        check_conflicts(run_id, stack.log(stack.container("server")))
        parts = ("", "/log", "/privacy", "/metrics/accuracy")
        check_api(run_id, end, rounds, *(stack.asked(f"/v1/runs/{run_id}{part}") for part in parts))
        check_statement(case, run_id, end, stored, folder)

    def _ledgers(self) -> None:
        """Recompute every ledger: run by run, and over its whole life."""
        exported = self._stack.exported()
        for outcome in self._outcomes:
            stored = self._runs.get(outcome["run_id"])
            if stored is not None:
                for site in SITES:
                    try:
                        check_ledger(site, outcome["run_id"], exported[site], stored)
                    except AssertionError as error:
                        outcome["passed"], outcome["reason"] = False, f"{outcome['reason']} {error}".strip()
                        print(f"FAILED ledger of {outcome['run_id']}: {error}")
        for site, lines in exported.items():
            print(
                f"{site}: {len(lines)} releases, lifetime ε {agreed_epsilon(site, lines, _DELTA):.4f} at δ {_DELTA:g}"
            )

    def _write(self) -> None:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        partial = RESULTS.with_suffix(".partial")
        partial.write_text(json.dumps({"cases": self._outcomes}, indent=1) + "\n")
        partial.replace(RESULTS)


if __name__ == "__main__":
    sys.exit(main())
