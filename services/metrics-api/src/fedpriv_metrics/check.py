"""Checks a privacy statement for a viewer: what `fedpriv verify` does, with the keys that the API was given.

It is the hub's own check of the hub's own word, so it finds what was damaged or changed in storage, and what sites did
not sign. It does not replace an auditor's, who brings the keys; and it says so.

Recomputing epsilon imports the accountants and may take seconds, so it is done in a process of its own:

    python -m fedpriv_metrics.check < {"statement": base64, "model": base64 | null, "keys": {path: PEM}, "of": {…}}
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from fedpriv_metrics import apart

if TYPE_CHECKING:
    from fedpriv_common.statement.schema import Statement
    from fedpriv_common.statement.sign import PublicKey
    from fedpriv_common.statement.verify import Report

#: Seconds that the process may take.
DEADLINE_S = 120.0

FindingState = Literal["ok", "failed", "not checked"]
Verdict = Literal["verified", "incomplete", "failed"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunFacts(_Frozen):
    """What run.json, the admissions and end.json say, which the statement must agree with."""

    run_id: str
    plan_digest: str
    model_digest: str | None
    admitted: tuple[str, ...]


class Finding(_Frozen):
    """One check, as `fedpriv verify` prints it."""

    what: str
    state: FindingState
    detail: str


class UsedKey(_Frozen):
    """A public key that a signature was checked with."""

    owner: str
    fingerprint: str
    file: str
    former: bool


class Result(_Frozen):
    """What a check found."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    keys: tuple[UsedKey, ...]
    unsigned: tuple[str, ...]
    unkeyed: tuple[str, ...]


async def check(statement: bytes, model: bytes | None, keys: Mapping[str, str], run: RunFacts) -> Result:
    """Check in a process of its own. Raises OSError, ValueError or TimeoutError when that fails."""
    question = {
        "statement": base64.b64encode(statement).decode(),
        "model": None if model is None else base64.b64encode(model).decode(),
        "keys": dict(keys),
        "of": run.model_dump(mode="json"),
    }
    answer = await apart.compute("fedpriv_metrics.check", json.dumps(question).encode(), DEADLINE_S)
    return Result.model_validate_json(answer)


def examine(statement: bytes, model: bytes | None, keys: Mapping[str, str], run: RunFacts) -> Result:
    """The check itself. `keys`: PEM text by path, as public_keys.py reads them, hub.pem among them."""
    from fedpriv_common.statement.verify import parse, verify

    try:
        signed = parse(statement)
    except ValueError:
        signed = None
    hub = _choose(keys, "hub", "hub.pem", signed.signature.key if signed else "")
    if hub is None:
        finding = Finding(
            what="hub's key", state="failed", detail="hub.pem is no Ed25519 or P-256 public key in PEM form"
        )
        return Result(verdict="failed", findings=(finding,), keys=(), unsigned=(), unkeyed=())
    used, sites = [hub[0]], dict[str, "PublicKey"]()
    unsigned, unkeyed = list[str](), list[str]()
    for section in signed.statement.sections if signed else ():
        if section.signed is None:
            unsigned.append(section.site)
            continue
        chosen = _choose(keys, section.site, f"sites/{section.site}.pem", section.signed.signature.key)
        if chosen is None:
            unkeyed.append(section.site)
        else:
            used.append(chosen[0])
            sites[section.site] = chosen[1]
    report = verify(statement, hub[1], sites, unsigned=set(unsigned), model=model)
    findings = [*_findings(report, set(unkeyed))]
    if report.statement is not None:
        findings[2:2] = _of_run(report.statement, run)
    failed = any(finding.state == "failed" for finding in findings)
    # The run's end names a model: without its bytes nobody knows what the statement is of.
    incomplete = unsigned or unkeyed or model is None
    verdict: Verdict = "failed" if failed else "incomplete" if incomplete else "verified"
    # Whoever wrote a file that is not the hub's can write any name into it.
    believed = report.statement is not None
    return Result(
        verdict=verdict,
        findings=tuple(findings),
        keys=tuple(used) if believed else (hub[0],),
        unsigned=tuple(unsigned) if believed else (),
        unkeyed=tuple(unkeyed) if believed else (),
    )


def _choose(keys: Mapping[str, str], owner: str, path: str, signed_with: str) -> tuple[UsedKey, PublicKey] | None:
    """The owner's key that the signature names, if the folder has it; else the present one, which will not fit."""
    from fedpriv_common.statement.sign import fingerprint, parse_public_key

    present = None
    # Dates have no letters, so that no site's former key passes for one of a site whose name goes on differently.
    pattern = re.compile(rf"former/{re.escape(owner)}-until-[0-9-]+\.pem")
    former = sorted(name for name in keys if pattern.fullmatch(name) and (owner != "hub" or path == "hub.pem"))
    for name in (path, *former):
        try:
            key = parse_public_key(keys.get(name, "").encode())
        except ValueError:
            continue
        mark = fingerprint(key)
        used = UsedKey(owner=owner, fingerprint=mark, file=name, former=name != path)
        if mark == signed_with:
            return used, key
        if name == path:
            present = used, key
    return present


def _findings(report: Report, unkeyed: set[str]) -> Iterator[Finding]:
    """As `fedpriv verify` has them; a signature whose key the folder lacks was not checked, rather than not genuine."""
    for finding in report.findings:
        site = finding.what.removesuffix(": signature")
        if site in unkeyed and site != finding.what:
            detail = f"the folder of public keys has no sites/{site}.pem: its part was not checked"
            yield Finding(what=finding.what, state="not checked", detail=detail)
        else:
            yield Finding(what=finding.what, state=finding.state.value, detail=finding.detail)


def _of_run(statement: Statement, run: RunFacts) -> Iterator[Finding]:
    """Whether a genuine statement is the one of this run, and whole."""
    fault = ""
    for name, told, expected in (
        ("run", statement.run_id, run.run_id),
        ("plan", statement.plan_digest, run.plan_digest),
        ("model", statement.model_digest, run.model_digest),
    ):
        if told != expected:
            fault = fault or f"it is a genuine statement of another {name}: {told}"
    detail = "run, plan and model are those of run.json and end.json"
    yield Finding(what="this run", state="failed" if fault else "ok", detail=fault or detail)

    left_out = sorted(set(run.admitted) - {section.site for section in statement.sections})
    yield Finding(
        what="sites of the run",
        state="failed" if left_out else "ok",
        detail=f"{', '.join(left_out)} admitted the run, and the statement does not have it"
        if left_out
        else f"every site that admitted the run is in it: {', '.join(sorted(run.admitted))}",
    )


def _main() -> None:
    os.nice(5)  # the API's own answers go first
    asked = json.load(sys.stdin)
    model = asked["model"]
    result = examine(
        base64.b64decode(asked["statement"]),
        None if model is None else base64.b64decode(model),
        asked["keys"],
        RunFacts.model_validate(asked["of"]),
    )
    print(result.model_dump_json())  # noqa: T201 - the answer


if __name__ == "__main__":
    _main()
