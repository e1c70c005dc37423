"""Checks a statement offline: signatures by keys that the auditor brings, and every figure recomputed.

No key and no figure is believed because the file says so. What only the hub says (its clock, its name for the run, how
the run ended) is as good as its signature; what a site says can be changed by nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import ValidationError

from fedpriv_common.accounting import epsilon, pld_epsilon, rdp_epsilon
from fedpriv_common.canonical import canonical_json, sha256_hex
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.rounding import spell_spent
from fedpriv_common.statement.figures import gaussian_events, lifetime_events, site_epsilon, strengths
from fedpriv_common.statement.schema import (
    GaussianCharge,
    GeometricCharge,
    Section,
    SignedStatement,
    SitePart,
    Spent,
    Statement,
    Strength,
)
from fedpriv_common.statement.sign import PublicKey, fingerprint, holds
from fedpriv_common.statement.words import make_words

#: Processors differ in the last digits of a privacy loss distribution; relative.
_TOLERANCE: Final = 1e-6


class State(StrEnum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, what became of it, and why."""

    what: str
    state: State
    detail: str


@dataclass(frozen=True)
class Report:
    """Every check, in order, and the statement where the file is one that the hub signed."""

    statement: Statement | None
    findings: tuple[Finding, ...]

    @property
    def first_failure(self) -> Finding | None:
        """The first check that failed."""
        return next((finding for finding in self.findings if finding.state is State.FAILED), None)


def verify(
    body: bytes,
    hub_key: PublicKey,
    site_keys: Mapping[str, PublicKey],
    *,
    expected: Set[str] = frozenset(),
    unsigned: Set[str] = frozenset(),
    model: bytes | None = None,
) -> Report:
    """Check the bytes of a `statement.json`.

    `expected`: sites that must be in it. `unsigned`: sites whose missing part is put up with. `model`: the bytes of
    the model that the statement is said to be of.
    """
    try:
        signed = parse(body)
    except ValueError as error:
        return Report(None, (Finding("form", State.FAILED, str(error)),))
    statement = signed.statement
    findings = [_finding("form", "", f"schema {statement.schema_version}, canonical")]
    fault = "" if holds(statement, signed.signature, hub_key) else "not one of the given key over this statement"
    findings.append(_finding("hub's signature", fault, f"{signed.signature.algorithm} {fingerprint(hub_key)[:16]}…"))
    if fault:  # whoever wrote the rest, it was not this hub
        return Report(None, tuple(findings))
    findings += _whole(statement, expected)
    for section in statement.sections:
        findings += _section(statement, section, site_keys.get(section.site), section.site in unsigned)
    findings.append(_model(statement, model))
    return Report(statement, tuple(findings))


def parse(body: bytes) -> SignedStatement:
    """Read a statement; raises ValueError for anything but the one spelling that was signed."""
    try:
        signed = SignedStatement.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"no privacy statement of a version that is known here: {where}: {first['msg']}") from None
    if canonical_json(signed.model_dump(mode="json")) != body:
        raise ValueError("the file is not spelled as it was signed: check the file as it was stored, byte for byte")
    return signed


def _finding(what: str, fault: str, detail: str) -> Finding:
    return Finding(what, State.FAILED if fault else State.OK, fault or detail)


# -- the whole ---------------------------------------------------------------------------------------------------------


def _whole(statement: Statement, expected: Set[str]) -> Iterator[Finding]:
    plan, contract, promise = statement.plan, statement.contract, statement.promise
    sites = [section.site for section in statement.sections]
    fault = ""
    if plan.digest() != statement.plan_digest:
        fault = "the plan is not the one that its digest names"
    elif contract.digest() != plan.contract_digest or contract.dataset != plan.dataset:
        fault = "the data contract is not the plan's"
    elif (promise.epsilon, promise.delta, promise.unit, promise.adjacency) != (
        plan.epsilon,
        plan.delta,
        plan.unit,
        plan.adjacency,
    ):
        fault = "the promise is not the plan's"
    elif statement.outcome.rounds > plan.rounds:
        fault = "more rounds than the plan has"
    yield _finding("plan and contract", fault, f"{plan.dataset}, {plan.recipe}, plan {statement.plan_digest[:16]}…")

    words = make_words(plan, contract, statement.public_validation, statement.sections)
    changed = [name for name in type(words).model_fields if getattr(words, name) != getattr(statement.words, name)]
    fault = f"{', '.join(changed)}: not what follows from plan and parts" if changed else ""
    yield _finding("wording", fault, f"{len(words.not_protected)} limits of the protection, none left out")

    missing = sorted(expected - set(sites))
    fault = ""
    if not sites or sites != sorted(set(sites)) or len(sites) > plan.sites:
        fault = "the sites are none, twice in it, out of order or more than the plan has"
    elif missing:
        fault = f"{', '.join(missing)}: a key was given, but the statement has no such site"
    detail = f"{', '.join(sites)}; the plan has {plan.sites}"
    if not fault and len(sites) < plan.sites:
        # A quorum may have sufficed; or the hub left out a site that it would rather not show.
        yield Finding("sites", State.NOT_CHECKED, f"{detail}: ask who the others are, and give their keys too")
    else:
        yield _finding("sites", fault, detail)

    genesis = [section.signed.part.ledger.genesis for section in statement.sections if section.signed]
    fault = "two sites show the same ledger" if len(set(genesis)) < len(genesis) else ""
    yield _finding("ledgers", fault, f"{len(genesis)} different ones")

    if sites:
        try:
            run, lifetime = strengths(statement.sections)
        except (ValueError, ArithmeticError) as error:
            yield Finding("summary", State.FAILED, f"cannot be computed from the sites' figures ({error})")
            return
        close = _close(statement.run, run) and _close(statement.lifetime, lifetime)
        fault = "" if close else "not what follows from the sites' figures"
        yield _finding(
            "summary",
            fault,
            f"ε of this run {spell_spent(run.epsilon, 4)}, of the lifetime {spell_spent(lifetime.epsilon, 4)}",
        )


def _close(told: Strength, recomputed: Strength) -> bool:
    return all(
        abs(getattr(told, name) - getattr(recomputed, name)) <= _TOLERANCE * max(1.0, getattr(recomputed, name))
        for name in type(told).model_fields
    )


def _model(statement: Statement, model: bytes | None) -> Finding:
    if model is None:
        return Finding("model", State.NOT_CHECKED, f"SHA-256 {statement.model_digest[:16]}…; give the file to compare")
    fault = "" if sha256_hex(model) == statement.model_digest else "the file is not the model of this statement"
    return _finding("model", fault, f"SHA-256 {statement.model_digest[:16]}…")


# -- one site ----------------------------------------------------------------------------------------------------------


def _section(statement: Statement, section: Section, key: PublicKey | None, unsigned: bool) -> Iterator[Finding]:
    site = section.site
    if section.signed is None:
        why = "no signed part: the site never answered the end of the run, and its figures are its last word to the hub"
        state = State.NOT_CHECKED if unsigned else State.FAILED
        yield Finding(f"{site}: part", state, why)
        return
    part, signature = section.signed.part, section.signed.signature
    if key is None:
        fault = "no key of this site was given"
    else:
        fault = "" if holds(part, signature, key) else "not one of the given key over this part"
    detail = signature.algorithm if key is None else f"{signature.algorithm} {fingerprint(key)[:16]}…"
    yield _finding(f"{site}: signature", fault, detail)
    if fault:
        return
    yield _finding(f"{site}: part", _belongs(statement, site, part), "of this run, plan, contract and site")
    committed = sum(entry.state == "committed" for entry in part.entries)
    yield _finding(
        f"{site}: entries",
        entries_fault(statement.plan, part),
        f"{len(part.entries)} as planned, {committed} of them sent",
    )
    try:
        yield from _figures(statement.plan, part)
    except Exception as error:  # whatever numbers that nobody would release make an accountant raise
        yield Finding(f"{site}: epsilon", State.FAILED, f"cannot be computed from its entries ({type(error).__name__})")
    yield _audit(part)


def _belongs(statement: Statement, site: str, part: SitePart) -> str:
    for name, told, expected in (
        ("site", part.site, site),
        ("run", part.run_id, statement.run_id),
        ("plan", part.plan_digest, statement.plan_digest),
        ("contract", part.contract_digest, statement.plan.contract_digest),
        ("data set", part.dataset, statement.plan.dataset),
        ("unit", part.unit, statement.plan.unit),
        ("adjacency", part.adjacency, statement.plan.adjacency),
    ):
        if told != expected:
            return f"made for another {name}: {told}"
    return ""


def entries_fault(plan: Plan, part: SitePart) -> str:
    """What is wrong with a part's entries, if anything: each must be one that the plan foresees, once."""
    seen: set[tuple[Phase, int]] = set()
    for entry in part.entries:
        name = f"{entry.phase} in round {entry.round}"
        if (entry.phase, entry.round) in seen:
            return f"{name} is charged twice"
        seen.add((entry.phase, entry.round))
        if (entry.reply_digest is None) is (entry.state == "committed"):
            return f"{name} is {entry.state} with{'out' if entry.reply_digest is None else ''} a reply"
        if not _planned(plan, entry):
            return f"{name} is not what the plan foresees"
    # Genesis, admission and close; a reservation and a commit for each release.
    least = 2 + sum(2 if entry.state == "committed" else 1 for entry in part.entries)
    if part.ledger.partition >= part.ledger.partitions or part.ledger.seq < least:
        return "the ledger is shorter than its entries, or of a partition that there is not"
    return ""


def _planned(plan: Plan, entry: GaussianCharge | GeometricCharge) -> bool:
    match entry:
        case GeometricCharge():
            planned = plan.evaluate
            return planned is not None and (
                entry.phase is Phase.EVALUATE and entry.round in planned.at and entry.epsilon_pure == planned.epsilon
            )
        case GaussianCharge():
            release, first = plan.release(entry.phase), 0 if entry.phase is Phase.CENTRE else 1
            return release is not None and (
                first <= entry.round < first + release.rounds
                and entry.noise_multiplier == release.noise_multiplier
                and entry.max_grad_norm == release.max_grad_norm
                and entry.sample_rate == release.sample_rate
                and entry.steps == release.steps
            )


def _figures(plan: Plan, part: SitePart) -> Iterator[Finding]:
    told, limits = part.epsilon, part.limits
    again = site_epsilon(part.entries, part.earlier, part.earlier_held_out, told.delta)
    fault = ""
    for name in ("run", "lifetime", "held_out_run", "held_out_lifetime"):
        if not _covers(getattr(told, name), getattr(again, name)):
            fault = f"{name.replace('_', ' ')}: less than its entries cost"
    if told.delta != limits.delta:
        fault = "not at the delta of the site's policy"
    elif told.delta > 1 / plan.nominal_size:
        fault = f"at delta {told.delta:g}, more than 1/{plan.nominal_size}, where epsilon says nothing"
    yield _finding(
        f"{part.site}: epsilon",
        fault,
        f"recomputed: run {spell_spent(again.guaranteed_run, 4)}, "
        f"lifetime {spell_spent(again.guaranteed_lifetime, 4)} at δ {told.delta:g}",
    )

    run = gaussian_events(part.entries)
    spent = epsilon(run, plan.delta)
    fault = ""
    if spent > plan.epsilon * (1 + _TOLERANCE):
        fault = f"ε {spell_spent(spent, 4)} at δ {plan.delta:g} is more than the run promised, {plan.epsilon:g}"
    detail = f"{spell_spent(spent, 4)} of {plan.epsilon:g} promised, lifetime of {limits.epsilon:g}"
    over = told.guaranteed_run > limits.max_run_epsilon or told.guaranteed_lifetime > limits.epsilon
    if over and limits.admitted_under == limits.policy_digest:
        fault = fault or "more than the site's own policy allows"
    if over and not fault:
        yield Finding(
            f"{part.site}: limits", State.NOT_CHECKED, f"{detail}; the site's policy became stricter after admission"
        )
    else:
        yield _finding(f"{part.site}: limits", fault, detail)

    lifetime = lifetime_events(part.entries, part.earlier)
    if not lifetime:
        return
    bounds = pld_epsilon(lifetime, told.delta), rdp_epsilon(lifetime, told.delta)
    # Each is an upper bound by another method: neither may lie below what is exact or the smallest of bounds.
    low = again.lifetime.add_remove * (1 - 1e-3) - 1e-3
    fault = "" if min(bounds) >= low else f"two accountants contradict it: PLD {bounds[0]:.4f}, RDP {bounds[1]:.4f}"
    yield _finding(f"{part.site}: accountants", fault, f"PLD {bounds[0]:.4f}, RDP {bounds[1]:.4f} for the lifetime")


def _covers(told: Spent, recomputed: Spent) -> bool:
    return all(
        getattr(told, name) >= getattr(recomputed, name) * (1 - _TOLERANCE) for name in ("add_remove", "replace_one")
    )


def _audit(part: SitePart) -> Finding:
    what, audit = f"{part.site}: audit", part.audit
    if audit is None:
        return Finding(what, State.NOT_CHECKED, "the site did not add one")
    if audit.verdict == "failed":
        return Finding(what, State.FAILED, f"it failed: {', '.join(audit.failures())}")
    fault = "" if audit.code_version == part.software.code_version else f"it is of version {audit.code_version}"
    itself = "without its test of itself" if audit.quick else f"{len(audit.defects)} seeded defects noticed"
    return _finding(what, fault, f"passed on {audit.at:%Y-%m-%d}, {len(audit.checks)} checks, {itself}")
