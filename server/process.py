"""The server's process: opens the arena, starts the listeners, repairs, and drains on a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import closing

from engine import Engine
from engine.rules import PolicySet
from server.address import Address
from server.service import Listener
from server.settings import Settings
from server.web import Site, pages

STOP = (signal.SIGTERM, signal.SIGINT)

Announce = Callable[[Address, Address], None]


def serve(settings: Settings, policies: PolicySet, *, arena: str, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls in flight; a second signal ends them.

    `announce` is called with the addresses of gRPC and of the site once both answer. Raises
    ArenaError, and OSError where an address is taken.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    draining = threading.Event()
    with (
        Engine(arena, policies, arena_size=settings.arena_bytes) as engine,
        closing(Site(pages(engine, draining.is_set), Address.parse(settings.web))) as site,
    ):
        listener = Listener(engine.arena, settings)
        address = listener.start()
        site.start()
        announce(address, site.address)
        _repair_until_signal(engine, settings.repair_every_s)
        draining.set()
        _drain(listener, settings.grace_s)


def _repair_until_signal(engine: Engine, every_s: float) -> None:
    while signal.sigtimedwait(STOP, every_s) is None:
        engine.repair()


def _drain(listener: Listener, grace_s: float) -> None:
    stopped = listener.drain(grace_s)
    while not stopped.is_set():
        if signal.sigtimedwait(STOP, 0.05):
            listener.drain(0).wait()
