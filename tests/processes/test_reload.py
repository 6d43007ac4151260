"""A reload is seen whole or not at all, by every process and in the middle of everything."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import Engine

READS = 3_000
AT_MOST_S = 20.0


def test_reader_sees_one_version_when_another_process_publishes_all_the_time(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    publisher = start("publish_for_ever", arena)
    assert publisher.hear() == "published"
    reader = engine.policy("pool/pair")
    versions = set()
    heap = engine.snapshot().arena.heap_used
    until = time.monotonic() + AT_MOST_S
    while len(versions) < READS and time.monotonic() < until:
        seen = engine.snapshot().policies[0]
        assert seen.bulkhead.limit == seen.rate_limit.limit
        versions.add(reader.version)
    publisher.kill()
    assert len(versions) > 500, "too few versions were seen to prove anything"
    assert engine.snapshot().arena.heap_used - heap < 10_000, "a change of numbers takes no room"
