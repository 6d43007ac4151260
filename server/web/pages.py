"""What the site answers: /metrics, /healthz, /readyz and an index."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engine import Engine
from engine.errors import ArenaError
from engine.metrics import EngineCollector

INDEX = """admittance

/metrics  counters and states of every policy, for Prometheus
/healthz  200 while the process lives
/readyz   200 while it takes calls, 503 when it does not
"""


def pages(engine: Engine, draining: Callable[[], bool]) -> Starlette:
    """Return the application; `draining` says whether the server has begun to stop."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(EngineCollector(engine))

    def metrics(request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": kind})

    def ready(_: Request) -> Response:
        if draining():
            return PlainTextResponse("draining\n", 503)
        try:
            engine.snapshot()
        except (ArenaError, OSError) as error:
            return PlainTextResponse(f"arena: {error}\n", 503)
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[
            Route("/", lambda _: PlainTextResponse(INDEX)),
            Route("/metrics", metrics),
            Route("/healthz", lambda _: PlainTextResponse("alive\n")),
            Route("/readyz", ready),
        ]
    )
