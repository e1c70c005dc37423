"""How often does the audit accuse correct code, and how surely does it notice code that is not?

    python -m tests.bench.audit [--repeat 20] [--with-defects 20]

Prints each repetition's bounds beside the ledger's epsilon, and which checks failed; of a repetition with the seeded
defects also which were caught. The result goes to var/results/bench-audit.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from pathlib import Path

from fedpriv_client.audit.run import PROCESSES, run_audit
from fedpriv_common.audit_result import AuditResult

RESULT = Path("var/results/bench-audit.json")


def summarise(results: list[AuditResult]) -> dict[str, object]:
    bounds: dict[str, list[float]] = {}
    powers: dict[str, list[float]] = {}
    caught, tried, defect_bounds = Counter(), Counter(), {}
    for result in results:
        for bound in result.bounds:
            bounds.setdefault(bound.recipe, []).append(bound.bound)
            if bound.power is not None:
                powers.setdefault(bound.recipe, []).append(bound.power)
        for defect in result.defects:
            tried[defect.name] += 1
            caught[defect.name] += defect.caught
            if defect.bound is not None:
                defect_bounds.setdefault(defect.name, []).append(defect.bound)
    return {
        "audits": len(results),
        "passed": sum(result.verdict == "passed" for result in results),
        "failures": Counter(name for result in results for name in result.failures()),
        "claim": max(bound.claim for result in results for bound in result.bounds),
        "bounds": {name: spread(values) for name, values in bounds.items()},
        "powers": {name: spread(values) for name, values in powers.items()},
        "defects_caught": {name: f"{caught[name]} of {tried[name]}" for name in tried},
        "defect_bounds": {name: spread(values) for name, values in defect_bounds.items()},
        "seconds": spread([result.seconds for result in results]),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"least": min(values), "mean": round(statistics.mean(values), 3), "most": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--with-defects", type=int, default=20, help="in how many of them the defects are tried")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    arguments = parser.parse_args()
    results = []
    for number in range(1, arguments.repeat + 1):
        result = run_audit(defects=number <= arguments.with_defects, processes=arguments.processes)
        results.append(result)
        bounds = ", ".join(f"{bound.recipe} {bound.bound:.3f} of {bound.claim:.4f}" for bound in result.bounds)
        caught = f"{sum(defect.caught for defect in result.defects)} of {len(result.defects)} defects"
        failures = ", ".join(result.failures()) or "none"
        print(f"{number:3} {result.verdict}: {bounds}; {caught}; failures: {failures}; {result.seconds} s", flush=True)
    summary = summarise(results)
    print(json.dumps(summary, indent=2))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"summary": summary, "audits": [json.loads(r.model_dump_json()) for r in results]}))


if __name__ == "__main__":
    main()
