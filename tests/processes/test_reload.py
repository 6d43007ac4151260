"""A reload is seen whole or not at all, by every process and in the middle of everything."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import Engine

VERSIONS = 100
PATIENCE_S = 60


def test_rules_of_one_version_are_seen_together_and_take_no_more_room(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    publisher = start("publish_for_ever", arena)
    assert publisher.hear() == "published"
    before = engine.snapshot().arena
    versions = set()
    until = time.monotonic() + PATIENCE_S
    while len(versions) <= VERSIONS and time.monotonic() < until:
        seen = engine.snapshot().policies[0]
        assert seen.bulkhead.limit == seen.rate_limit.limit
        versions.add(seen.version)
    publisher.kill()
    after = engine.snapshot().arena
    assert len(versions) > VERSIONS, "too few changes to prove it"
    assert after.config_version - before.config_version > VERSIONS
    assert after.heap_used - before.heap_used < 20_000, "more than this process counts in"
