"""The API's routes, a module for each concern. They are thin: they validate, find the run, and hand out bytes that were
made once per state."""

from __future__ import annotations

from fastapi import APIRouter

from fedpriv_metrics.routes import compatibility, events, frontier, health, ledger, plan, records, runs, sites

router = APIRouter()
for _module in (runs, records, frontier, ledger, sites, plan, events, compatibility, health):
    router.include_router(_module.router)
