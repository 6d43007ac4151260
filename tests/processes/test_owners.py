"""Owners: forks inherit nothing, and rows of the dead are used again."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Policy, rules


@pytest.fixture(params=["mapped", "private"])
def place(request: pytest.FixtureRequest, arena: Path) -> str:
    """An arena file, or no file."""
    return str(arena) if request.param == "mapped" else "private"


def test_child_cannot_settle_its_parents_permit(run: Callable[..., Any], place: str) -> None:
    said = run("fork_with_a_permit", place)
    assert said["settle"] is False
    assert said["use_then_settle"] == [True, False, True]
    assert (said["drop"], said["left"]) == ("dropped", "left")
    assert said["in_use"] == 1, "a child gave its parent's permit back"
    assert said["own"] is True, "the parent's permit was void"
    assert said["after"] == 0


def test_child_shares_the_limit_when_the_arena_is_mapped(
    run: Callable[..., Any], arena: Path
) -> None:
    said = run("fork_with_a_full_pool", arena)
    assert said == {"child": False, "parent": True, "in_use": 0}


def test_child_has_a_limit_of_its_own_when_the_arena_is_private(run: Callable[..., Any]) -> None:
    said = run("fork_with_a_full_pool", "private")
    assert said == {"child": True, "parent": True, "in_use": 0}


def test_child_gives_nothing_back_when_it_leaves_its_parents_with(
    run: Callable[..., Any], arena: Path
) -> None:
    assert run("fork_inside_with", arena) == {"in_use": 0, "success": 1}


def test_child_claims_a_row_of_its_own_on_first_use(run: Callable[..., Any], arena: Path) -> None:
    parent, (before, row), ((_, second), (grand_before, grandchild)) = run("fork_first_use", arena)
    assert (before, grand_before) == (0, 0)
    assert row not in (0, parent)
    assert len({parent, second, grandchild, 0}) == 4


def test_forked_pool_leaves_nothing_behind(run: Callable[..., Any], arena: Path) -> None:
    said = run("fork_pool", arena, 400)
    assert said == {"sum": sum(range(401)), "success": 400, "in_use": 0, "owners": 1}


def test_init_lock_is_held_to_its_end_when_it_is_taken_within(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    """A first use within the lock takes it once more, and must not give it back for both."""
    engine = open_engine(arena)
    other = start("take_init_lock", arena)
    assert other.hear() == "ready"
    with engine.arena.init_lock():
        Policy("pool/two", rules.Bulkhead(2), engine=engine).try_acquire()
        other.tell("go")
        assert not other.says_anything(within=0.3)
    assert other.hear() == "had"


def test_rows_and_permits_are_used_again_when_fifty_processes_come_and_go(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    rows = []
    for _ in range(10):
        visitors = [start("visit", arena) for _ in range(5)]
        rows += [visitor.hear() for visitor in visitors]
        assert [visitor.process.wait(timeout=10) for visitor in visitors] == [0] * 5
    assert len(rows) == 50
    assert len(set(rows)) <= 6, "rows of dead owners are not used again"
    snapshot = engine.snapshot()
    assert snapshot.arena.owners == 1
    assert snapshot.policies[0].bulkhead.in_use == 0
    assert snapshot.policies[0].admitted == 50


def test_stopped_process_is_no_dead_owner(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    Policy("pool/two", rules.Bulkhead(2), engine=engine)
    holder = start("hold", arena, "pool/two", 2)
    assert holder.hear() == 2
    holder.signal(signal.SIGSTOP)
    assert engine.repair() == 0
    assert engine.snapshot().arena.owners == 2
    holder.kill()
    assert engine.repair() == 2
    assert engine.repair() == 0
    assert engine.snapshot().arena.owners == 1
