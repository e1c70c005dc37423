"""Who asks, and what they may read. Every answer that tells of single sites is made for a viewer, and of what the
viewer may not see it says nothing.

    coordinator   everything
    auditor       everything but the model's parameters and the planner
    site          runs that it takes part in, the global model's figures, its own budgets and records; other sites are
                  neither named nor shown, only counted

The table with every route is in docs/reference/api.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request

from fedpriv_common.records import GLOBAL
from fedpriv_metrics.index import Joined, RunIndex
from fedpriv_metrics.models.problem import ProblemCode
from fedpriv_metrics.problems import ProblemError


class Role(StrEnum):
    """What the holder of an API key is to the federation."""

    COORDINATOR = "coordinator"
    SITE = "site"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who reads. `site`: the one site whose own figures are seen; None: those of every site.

    `name` and `expires` are the API key's; without keys there is none, and everybody is a coordinator.
    """

    site: str | None = None
    role: Role = Role.COORDINATOR
    name: str | None = None
    expires: datetime | None = None

    def sees(self, site: str) -> bool:
        """Whether figures of this site, or of the global model, may be told."""
        return self.site is None or site in (self.site, GLOBAL)

    def sees_run(self, run: RunIndex) -> bool:
        """Whether the run may be told of: to a site those that it takes part in."""
        return self.site is None or self.site in run.sites()

    def sees_event(self, site: object) -> bool:
        """Whether an event of a run, which is of one site or of none, may be told."""
        return site is None or (isinstance(site, str) and self.sees(site))

    def sees_listed(self, joined: object) -> bool:
        """Whether an event of the list of runs is for this viewer."""
        if not isinstance(joined, Joined):
            return False
        return joined.site == self.site if joined.site is not None else self.sees_run(joined.run)

    @property
    def scope(self) -> str:
        """Viewers of one scope get the same answers: part of the question under which an answer is kept."""
        return self.site or "*"


def viewer_of_request(request: Request) -> Viewer:
    """The viewer of this request, as the gate found it out."""
    viewer: Viewer = request.state.viewer
    return viewer


ViewerDep = Annotated[Viewer, Depends(viewer_of_request)]


def only(*roles: Role) -> Callable[[Request], Viewer]:
    """A dependency that lets these roles pass: `viewer: Annotated[Viewer, Depends(only(Role.COORDINATOR))]`."""

    def admit(request: Request) -> Viewer:
        viewer = viewer_of_request(request)
        if viewer.role not in roles:
            allowed = " or ".join(roles)
            raise ProblemError(
                ProblemCode.NOT_ALLOWED, f"A key of the role {viewer.role} may not read this; {allowed} may."
            )
        return viewer

    return admit


def require_own(viewer: Viewer, site: str | None) -> None:
    """Refuse a question about another site's figures, whether or not there is such a site."""
    if site is not None and not viewer.sees(site):
        raise ProblemError(
            ProblemCode.NOT_ALLOWED, f"This key reads the figures of {viewer.site} and of the global model, no other's."
        )
