"""A reload is seen whole or not at all, by every process and in the middle of everything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import Engine

VERSIONS = 100


def test_rules_of_one_version_are_seen_together_and_take_no_more_room(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    publisher = start("publish_for_ever", arena)
    assert publisher.hear() == "published"
    before = engine.snapshot().arena
    versions = set()
    for _ in range(10_000):
        seen = engine.snapshot().policies[0]
        assert seen.bulkhead.limit == seen.rate_limit.limit
        versions.add(seen.version)
        if len(versions) > VERSIONS:
            break
    publisher.kill()
    after = engine.snapshot().arena
    assert len(versions) > VERSIONS, "too few changes to prove it"
    assert after.config_version - before.config_version > VERSIONS
    assert after.heap_used - before.heap_used < 5_000, "more than this process's meter"
