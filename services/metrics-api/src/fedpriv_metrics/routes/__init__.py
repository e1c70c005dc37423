"""The API's routes, a module for each concern. They are thin: they validate, find the run, and hand out bytes that were
made once per state."""

from __future__ import annotations

from fastapi import APIRouter

from fedpriv_metrics.routes import (
    audit,
    compatibility,
    events,
    frontier,
    health,
    ledger,
    me,
    plan,
    records,
    runs,
    sites,
    statements,
)

router = APIRouter()
for _module in (runs, records, frontier, ledger, sites, plan, statements, audit, events, me, compatibility, health):
    router.include_router(_module.router)
