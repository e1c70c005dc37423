"""Who asks."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from fedpriv_metrics.models.me import Me
from fedpriv_metrics.routes.common import PROBLEMS
from fedpriv_metrics.viewer import ViewerDep

router = APIRouter(tags=["access"])


@router.get("/v1/me", response_model=Me, responses=PROBLEMS)
async def get_me(viewer: ViewerDep) -> Response:
    """How this API lets viewers in, and who it takes you for."""
    auth: Literal["keys", "none"] = "none" if viewer.name is None else "keys"
    me = Me(auth=auth, name=viewer.name, role=viewer.role, site=viewer.site, expires=viewer.expires)
    return Response(me.model_dump_json(), headers={"Cache-Control": "no-store"}, media_type="application/json")
