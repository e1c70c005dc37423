"""A statement as one page for people: plain HTML without scripts, which prints and needs nothing from elsewhere.

A page proves nothing, and says so: only `fedpriv verify` tells whether the statement it was made from is genuine.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from fedpriv_common.rounding import round_up, spell_left, spell_limit, spell_spent
from fedpriv_common.statement.schema import GaussianCharge, Section, SignedStatement, Spent
from fedpriv_common.statement.words import spell_delta


def render(signed: SignedStatement) -> str:
    """The page of a statement; the same for the same statement."""
    statement = signed.statement
    html: str = _template().render(
        signed=signed,
        statement=statement,
        plan=statement.plan,
        words=statement.words,
        sites=[_site(section) for section in statement.sections],
        releases=[release for release in (statement.plan.centre, statement.plan.train) if release is not None],
    )
    return html


@cache
def _template() -> Any:
    import jinja2  # a site makes no pages

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "epsilon": spell_spent,
        "limit": spell_limit,
        "at_least": spell_left,
        "percent": _percent,
        "delta": spell_delta,
    }
    return environment.from_string((files("fedpriv_common") / "statement" / "page.html.j2").read_text())


def _site(section: Section) -> dict[str, Any]:
    """One row of the table of sites, signed or not."""
    if section.signed is None:
        told = section.told
        assert told is not None  # noqa: S101 - the schema sees to it
        return {
            "name": section.site,
            "part": None,
            "delta": told.delta,
            "run": told.epsilon_run,
            "lifetime": max(told.epsilon_spent, told.epsilon_held_out),
            "limit": told.epsilon_limit,
            "head": told.ledger_head,
        }
    part = section.signed.part
    training = [entry for entry in part.entries if isinstance(entry, GaussianCharge)]
    return {
        "name": section.site,
        "part": part,
        "key": section.signed.signature.key,
        "delta": part.epsilon.delta,
        "run": part.epsilon.guaranteed_run,
        "lifetime": part.epsilon.guaranteed_lifetime,
        "limit": part.limits.epsilon,
        "replace_one": _larger(part.epsilon.lifetime, part.epsilon.held_out_lifetime),
        "held_out": part.epsilon.held_out_lifetime.add_remove,
        "training": len(training),
        "evaluations": len(part.entries) - len(training),
        "sent": sum(entry.state == "committed" for entry in part.entries),
        "head": part.ledger.head,
    }


def _larger(one: Spent, other: Spent) -> float:
    return max(one.replace_one, other.replace_one)


def _percent(share: float) -> str:
    return f"{round_up(100 * share, 1):.1f} %"
