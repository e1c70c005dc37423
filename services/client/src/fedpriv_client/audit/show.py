"""An audit's result for a person at a terminal. The file has more: what each check expects, and every figure."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedpriv_client.audit.bounds import LARGEST
from fedpriv_common.audit_result import AuditResult, Bound, Check, Figure, SeededDefect
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.rounding import spell_left, spell_spent


def report(result: AuditResult, out: Path | None) -> None:
    """Show the result on the terminal and write it to `out`, if given. Raises AUDIT_FAILED unless it passed."""
    show(result, Console())
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise FedprivError(
                ErrorCode.BAD_SETTING,
                f"--out {out}: the result cannot be written ({error.strerror}).",
                "Name a file in a folder that this user may write.",
            ) from None
    if result.verdict == "failed":
        raise FedprivError(
            ErrorCode.AUDIT_FAILED,
            f"This code does not keep its claim, or a fault in it would go unnoticed: {', '.join(result.failures())}.",
            "Release nothing with it until this is understood; docs/explanation-audit.md says what each check means.",
        )


def show(result: AuditResult, console: Console) -> None:
    """Print tables of checks, bounds and seeded defects, what failed and what it expected, and the verdict."""
    console.print(_checks(result.checks))
    console.print(_bounds(result.bounds))
    if result.defects:
        console.print(_defects(result.defects))
    for check in result.checks:
        if not check.passed:
            console.print(f"[red]{check.name} failed[/]: {check.expects}; found {_figures(check.figures)}")
    for bound in result.bounds:
        if bound.refutes:
            console.print(
                f"[red]bound.{bound.recipe} failed[/]: epsilon is at least {spell_left(bound.bound, 3)} at "
                f"{bound.confidence:.3%} confidence, the ledger says {spell_spent(bound.claim, 4)}"
            )
    for defect in result.defects:
        if not defect.caught:
            console.print(f"[red]defect.{defect.name} failed[/]: with {defect.what}, the checks say nothing")
    counted = f"{len(result.checks)} checks, {len(result.bounds)} bounds"
    if result.defects:
        counted += f", {sum(defect.caught for defect in result.defects)} of {len(result.defects)} seeded defects caught"
    console.print(
        f"Audit [bold]{result.verdict}[/]: {counted}; {result.seconds:.0f} s, "
        f"code {result.code_version} {result.code_digest[:12]}"
    )
    if result.quick:
        console.print("quick: nothing here shows that a fault would be noticed; leave out --quick for that")


def _checks(checks: tuple[Check, ...]) -> Table:
    table = Table(title="The code that sites run", title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("")
    table.add_column("found")
    for check in checks:
        table.add_row(check.name, _mark(check.passed), _figures(check.figures))
    return table


def _bounds(bounds: tuple[Bound, ...]) -> Table:
    table = Table(title="What a server can tell from a whole run's replies", title_justify="left")
    for column in ("recipe", "", "ε by the ledger", "ε at least", "at half the noise", "canaries, confidence"):
        table.add_column(column, no_wrap=column == "recipe")
    for bound in bounds:
        table.add_row(
            bound.recipe,
            _mark(not bound.refutes),
            f"{spell_spent(bound.claim, 4)} (δ {bound.delta:g})",
            _epsilon(bound.bound),
            "not measured" if bound.power is None else _epsilon(bound.power),
            f"{bound.canaries}, {bound.confidence:.3%}",
        )
    return table


def _defects(defects: tuple[SeededDefect, ...]) -> Table:
    table = Table(title="Code with a fault put in: is it noticed?", title_justify="left")
    for column in ("fault", "", "caught by", "ε at least"):
        table.add_column(column)
    for defect in defects:
        groups = sorted({name.split(".")[0] for name in defect.caught_by})
        seen = (
            "no bound sees it"
            if defect.bound is None or defect.claim is None
            else f"{_epsilon(defect.bound)}, claimed {spell_spent(defect.claim)}"
        )
        table.add_row(defect.what, _mark(defect.caught), ", ".join(groups) or "nothing", seen)
    return table


def _mark(good: bool) -> str:
    return "[green]✓[/]" if good else "[red]✗[/]"


def _epsilon(bound: float) -> str:
    return f"{LARGEST:.0f} or more" if bound >= LARGEST else spell_left(bound)


def _figures(figures: dict[str, Figure]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in figures.items()
    )
