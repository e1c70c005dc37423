"""What a run would be, cost and reach, before it is started."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from fedpriv_metrics.contracts import find_contract
from fedpriv_metrics.models.plan import PlanAnswer, PlanQuery
from fedpriv_metrics.models.problem import Problem
from fedpriv_metrics.planner import PlannerBusyError, PlanPendingError, PlanTooSlowError
from fedpriv_metrics.planner_process import Answered, Asked
from fedpriv_metrics.plans import QuestionError, UnknownSiteError, budgets_told, inquire, plan_answer
from fedpriv_metrics.routes.common import PROBLEMS, answer, require_loaded
from fedpriv_metrics.service import Service, ServiceDep
from fedpriv_metrics.viewer import Role, Viewer, only

router = APIRouter(tags=["plan"])

PlannerDep = Annotated[Viewer, Depends(only(Role.COORDINATOR, Role.SITE))]

_RESPONSES: dict[int | str, dict[str, Any]] = PROBLEMS | {
    404: {"model": Problem, "description": "This API has no such data contract, or no run on it names the site."},
    422: {"model": Problem, "description": "A parameter is not allowed, or no plan can be made of these together."},
    503: {"model": Problem, "description": "It is being computed, or many are: ask again after `Retry-After` seconds."},
}


@router.get("/v1/plan", response_model=PlanAnswer, responses=_RESPONSES)
async def get_plan(
    request: Request, service: ServiceDep, viewer: PlannerDep, query: Annotated[PlanQuery, Query()]
) -> Response:
    """A run foretold: noise, rounds, accuracy, cost at each site. Nothing is spent; a run that the budget cannot pay is
    answered with what it could pay."""
    require_loaded(service)
    contract = find_contract(service.contracts, query.contract)
    if contract is None:
        known = ", ".join(service.contracts)
        raise HTTPException(
            404,
            f"This API has no data contract {query.contract}, only {known}. FEDPRIV_CONTRACTS names further ones; "
            "`fedpriv plan --contract FILE` plans without it.",
        )
    told = budgets_told(service.parts.all(), contract.dataset, viewer)
    try:
        inquiry = inquire(query, contract, told)
    except QuestionError as error:
        faults = [{"loc": ("query", where), "msg": why, "type": "value_error"} for where, why in error.faults]
        raise RequestValidationError(faults) from None
    except UnknownSiteError:
        raise HTTPException(
            404, f"No run on {contract.dataset} names a site {query.site}, or you may not see it."
        ) from None
    answered = await _ask(service, inquiry.asked)
    if answered.refused is not None or answered.forecast is None:
        refused = answered.refused
        raise HTTPException(422, f"{refused.code}: {refused.message} {refused.remedy}" if refused else "No plan.")
    body = plan_answer(inquiry, answered, answered.forecast, service.contracts).model_dump_json().encode()
    state = hashlib.sha256(body).hexdigest()[:16]
    return answer(request, service, ("plan", state), state, lambda: body)


async def _ask(service: Service, asked: Asked) -> Answered:
    try:
        return await service.planners.ask(asked)
    except PlanPendingError as error:
        detail = "The plan is being computed; ask again for it."
        raise HTTPException(503, detail, {"Retry-After": str(error.retry_after_s)}) from None
    except PlannerBusyError as error:
        detail = "Many plans are being computed; ask again."
        raise HTTPException(503, detail, {"Retry-After": str(error.retry_after_s)}) from None
    except PlanTooSlowError:
        raise HTTPException(
            422,
            "This plan takes too long to compute here. Ask for fewer rounds, local steps or epsilons, or use "
            "`fedpriv plan`, which takes its time.",
        ) from None
    except OSError:
        raise HTTPException(503, "The planner does not start; ask again.", {"Retry-After": "5"}) from None
