"""Who asks. Every answer that tells of single sites is made for a viewer, and of what the viewer may not see it says
nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from fedpriv_common.records import GLOBAL


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who reads. `site`: the one site whose own figures are seen; None: those of every site."""

    site: str | None = None

    def sees(self, site: str) -> bool:
        """Whether figures of this site, or of the global model, may be told."""
        return self.site is None or site in (self.site, GLOBAL)

    @property
    def scope(self) -> str:
        """Viewers of one scope get the same answers: part of the question under which an answer is kept."""
        return self.site or "*"


def viewer_of_request() -> Viewer:
    """The viewer of this request."""
    return Viewer()


ViewerDep = Annotated[Viewer, Depends(viewer_of_request)]
