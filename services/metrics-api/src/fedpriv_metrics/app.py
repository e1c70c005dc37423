"""The ASGI application around a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from fedpriv_metrics import __version__, problems
from fedpriv_metrics.edge import Edge
from fedpriv_metrics.gate import KEY_HEADERS, Admission, Gate
from fedpriv_metrics.routes import router
from fedpriv_metrics.service import Service

DESCRIPTION = (
    "Runs of federated learning with record-level differential privacy: figures of the global model, budgets of the "
    "sites, and what happens, live. Everything is read from write-once objects; nothing can be changed here."
)


def describe() -> FastAPI:
    """Routes and error handlers, without a service behind them."""
    # The interactive pages would load scripts from elsewhere.
    app = FastAPI(
        title="fedpriv metrics",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(router)
    problems.install(app)
    return app


def create_app(service: Service, cors_origins: tuple[str, ...] = (), admission: Admission | None = None) -> ASGIApp:
    """The application; it follows the bucket for as long as it runs. `admission`: who is let in; none: everybody."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.follower.run()), asyncio.create_task(service.proofs.run())]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await service.planners.close()

    app = describe()
    app.router.lifespan_context = lifespan
    app.state.service = service
    served: ASGIApp = Gate(app, admission or Admission())
    if cors_origins:
        # Outside of the gate, so that a page of such an origin can read why it was not let in.
        served = CORSMiddleware(
            served,
            allow_origins=cors_origins,
            allow_methods=["GET"],
            allow_headers=[*KEY_HEADERS, "If-None-Match", "Last-Event-ID"],
            expose_headers=["ETag", "X-Trace-Id", "Retry-After", "Link"],
        )
    return Edge(served, service.figures)
