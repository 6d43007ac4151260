"""The gRPC listener: bytes in, bytes out; everything is judged by `engine.core.wire`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from engine.core import wire
from engine.core.arena import Arena
from server.address import Address
from server.settings import Settings

SERVICE = "admittance.v1.Admission"

Judge = Callable[[Arena, bytes], bytes]


class Listener:
    """The data plane on one address, with grpc.health.v1 beside it."""

    def __init__(self, arena: Arena, settings: Settings) -> None:
        self._address = Address.parse(settings.listen)
        self._health = health.HealthServicer()
        self._health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        self._server = grpc.server(
            ThreadPoolExecutor(settings.threads, thread_name_prefix="grpc"),
            handlers=[_admission(arena, settings)],
            options=_options(settings),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def start(self) -> Address:
        """Begin to serve and return the address in use; raises OSError where it is taken."""
        self._address.check_free()
        try:
            port = self._server.add_insecure_port(str(self._address))
        except RuntimeError as error:
            raise self._address.unusable(str(error)) from None
        self._server.start()
        return self._address if self._address.path else Address(self._address.host, port)

    def drain(self, grace_s: float) -> threading.Event:
        """Take no more calls, say NOT_SERVING; the event is set when those in flight are done.

        What is still in flight after `grace_s` seconds is cancelled. May be called again, to
        shorten the grace.
        """
        self._health.enter_graceful_shutdown()
        stopped: threading.Event = self._server.stop(grace_s)
        return stopped


def _admission(arena: Arena, settings: Settings) -> Any:
    methods = {
        "Admit": _method(wire.admit, arena, settings.message_bytes),
        "Report": _method(wire.report, arena, settings.message_bytes),
        "AdmitBatch": _method(wire.admit_batch, arena, settings.batch_bytes),
        "ReportBatch": _method(wire.report_batch, arena, settings.batch_bytes),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def _method(judge: Judge, arena: Arena, limit: int) -> Any:
    def answer(data: bytes, context: Any) -> bytes:
        complaint = f"the message has {len(data)} bytes, and at most {limit} are taken"
        if len(data) <= limit:
            try:
                return judge(arena, data)
            except wire.WireError as error:
                complaint = str(error)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, complaint)
        raise AssertionError("abort does not return")

    return grpc.unary_unary_rpc_method_handler(answer)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max(settings.batch_bytes, settings.message_bytes)),
        ("grpc.max_metadata_size", settings.metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.metadata_bytes),
        ("grpc.max_concurrent_streams", settings.streams),
        ("grpc.max_allowed_incoming_connections", settings.connections),
        ("grpc.server.max_pending_requests", settings.pending),
        ("grpc.server.max_pending_requests_hard_limit", settings.pending),
        ("grpc.server_handshake_timeout_ms", round(settings.handshake_s * 1000)),
        ("grpc.max_connection_idle_ms", round(settings.idle_s * 1000)),
        ("grpc.keepalive_time_ms", round(settings.keepalive_s * 1000)),
    ]
