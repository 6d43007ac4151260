"""One bulkhead, several processes: never one too many, and nothing lost to a kill or a stop."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Policy, rules
from engine.core import wire

TRIES = 500_000


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A file of zeroed words for workers to write to."""
    path = tmp_path / "board"
    path.write_bytes(bytes(8 * 4096))
    return path


def race(start: Callable[..., Any], *arguments: object, tries: int) -> list[Any]:
    """Start two workers, let them go at the same time and return what they said."""
    workers = [start(*arguments, seat, tries) for seat in range(2)]
    assert [worker.hear() for worker in workers] == ["ready", "ready"]
    for worker in workers:
        worker.tell("go")
    return [worker.hear() for worker in workers]


def test_bulkhead_never_holds_nine_in_a_million_tries(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path, board: Path
) -> None:
    engine = open_engine(arena)
    said = race(start, "share_a_bulkhead", arena, board, tries=TRIES)
    assert max(one["most"] for one in said) <= 8
    assert min(one["refused"] for one in said) > 0, "the two never met: the run proves nothing"
    (pool,) = engine.snapshot().policies
    assert pool.admitted + sum(pool.refused.values()) == 2 * TRIES
    assert pool.bulkhead.in_use == 0
    assert pool.success + pool.ignored == pool.admitted


def test_bulkhead_never_holds_nine_when_permits_are_taken_over_the_wire(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path, board: Path
) -> None:
    engine = open_engine(arena)
    said = race(start, "share_a_bulkhead_by_wire", arena, board, tries=200_000)
    assert max(one["most"] for one in said) <= 8
    assert min(one["refused"] for one in said) > 0, "the two never met: the run proves nothing"
    assert [one["unsettled"] for one in said] == [0, 0]
    assert engine.snapshot().policies[0].bulkhead.in_use == 0
    assert engine.snapshot().arena.remote_permits == 0


def test_killed_holder_gives_its_permits_back_within_a_second(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
) -> None:
    engine = open_engine(arena)
    pool = Policy("pool/eight", rules.Bulkhead(8), engine=engine)
    holder = start("hold", arena, "pool/eight", 8)
    assert holder.hear() == 8
    assert not pool.try_acquire()
    holder.kill()
    permits = []
    seconds_until(lambda: bool(permits.append(pool.try_acquire()) or permits[-1]), at_most=1.0)
    assert engine.snapshot().policies[0].bulkhead.in_use == 1
    assert permits[-1].success()


def test_stopped_holder_keeps_its_permits_when_they_do_not_expire(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    pool = Policy("pool/one", rules.Bulkhead(1), engine=engine)
    holder = start("hold", arena, "pool/one", 1)
    assert holder.hear() == 1
    holder.signal(signal.SIGSTOP)
    assert engine.repair() == 0
    assert not pool.try_acquire()
    holder.signal(signal.SIGCONT)
    assert holder.ask("report") == 1


def test_late_report_frees_nobodys_permit_when_its_process_was_stopped(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
) -> None:
    engine = open_engine(arena)
    pool = Policy("pool/one", rules.Bulkhead(1, hold=0.1), engine=engine)
    holder = start("hold", arena, "pool/one", 1)
    assert holder.hear() == 1
    holder.signal(signal.SIGSTOP)
    taken = []

    def take() -> bool:
        """Take the permit for the 60 s of a remote caller."""
        request = b"\x0a\x08pool/one\x38" + b"\xe0\xd4\x03"
        taken.append(wire.admit(engine.arena, request))
        return taken[-1].startswith(b"\x08\x01")

    assert seconds_until(take, at_most=1.0) > 0.05
    holder.signal(signal.SIGCONT)
    assert holder.ask("report") == 0
    assert engine.snapshot().policies[0].bulkhead.in_use == 1
    assert engine.snapshot().policies[0].void == 1
    assert not pool.try_acquire()
    token = taken[-1][taken[-1].index(b"\x1a\x18") + 2 :][:24]
    assert wire.report(engine.arena, b"\x0a\x18" + token + b"\x10\x01") == b"\x08\x01"
    assert pool.try_acquire()
