"""A reload is seen whole or not at all, by every process and in the middle of everything."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine

LOOKS = 15_000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot share a core")
def test_reader_sees_one_version_when_it_is_interrupted_in_the_middle_of_it(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    """On one core the kernel stops each of them at any instruction, and the other goes on."""
    engine = open_engine(arena)
    publisher = start("publish_for_ever", arena)
    assert publisher.hear() == "published"
    before = engine.snapshot().arena
    said = start("look_up", arena, LOOKS).hear()
    publisher.kill()
    after = engine.snapshot().arena
    assert said == {"missing": 0}
    assert after.config_version - before.config_version > 10_000, "too few changes to prove it"
    assert after.heap_used - before.heap_used < 10_000, "more than the reader's meters"


def test_rules_of_one_version_are_seen_together(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    publisher = start("publish_for_ever", arena)
    assert publisher.hear() == "published"
    versions = set()
    for _ in range(10_000):
        seen = engine.snapshot().policies[0]
        assert seen.bulkhead.limit == seen.rate_limit.limit
        versions.add(seen.version)
        if len(versions) > 100:
            break
    publisher.kill()
    assert len(versions) > 100, "too few changes to prove it"
