"""Who takes part, and how each stands."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fedpriv_metrics.models.answer import Answer
from fedpriv_metrics.models.ledger import Account, AccountStatus, Charge
from fedpriv_metrics.models.log import LogEntry
from fedpriv_metrics.parts import Standing


class SiteEntry(LogEntry):
    """Something that was told of a site in a run."""

    run_id: str


class SiteKey(Answer):
    """The key that the server knows a site by, as its allow-lists tell."""

    fingerprint: str = Field(description="SHA-256 of the public key's DER form, as in privacy statements")
    since: datetime
    until: datetime | None = Field(description="when it was taken off the allow-list; null while its replies count")
    earlier: int = Field(description="keys that the site had before")


class SiteSummary(Answer):
    """A site over all runs of this hub."""

    site: str
    standing: Standing = Field(
        description="in its newest run: in_run, offline, awaiting_approval, not_joined (it has not answered the plan), "
        "declined; idle when that has ended in order; enrolled: on the allow-list, and no run has asked it; revoked: "
        "off the allow-list"
    )
    since: datetime | None = Field(description="of offline, awaiting_approval, enrolled and revoked")
    run_id: str | None = Field(description="its newest run, which the standing is of; null when no run has asked it")
    run_active: bool
    code: str | None = Field(description="the refusal with which it met that run")
    last_heard: datetime | None = Field(description="when the hub last had anything from it in a run")
    datasets: list[str]
    budget: AccountStatus = Field(description="of the data set that stands worst")
    joined: int = Field(description="runs")
    declined: int = Field(description="runs")
    rounds: int = Field(description="rounds in which a release reached the hub")
    missed: int = Field(description="closed rounds in which it was asked and said nothing")
    late: int = Field(description="replies that came after their round had closed")
    bad: int = Field(description="replies that the plan does not foresee")
    stock: bool = Field(description="it runs a node without a ledger, which takes no part")
    key: SiteKey | None = Field(description="null where no allow-list that is known names the site")


class SitePage(Answer):
    """Sites by name."""

    seq: str
    only_site: str | None = Field(description="the one site that you may see; null: you see every site")
    sites: list[SiteSummary]
    next_cursor: str | None


class SiteDetail(SiteSummary):
    """One site with its budgets, its newest runs and what was told of it."""

    seq: str
    accounts: list[Account]
    charges: list[Charge] = Field(description="of its newest runs, newest first; /v1/privacy/ledger/charges has all")
    entries: list[SiteEntry] = Field(description="what was told of it in those runs, newest first")
