"""Damage what the core reads, and see that it never dies of it: `fuzz.py TARGET SECONDS [SEED]`.

Targets: `image` flips bytes of an arena file, heap included, under a process that goes on using it
and under others that attach; `token` alters permits of remote callers; `wire` alters messages. An
error in words is a fine answer. Prints what it counted; exits with 1 where a promise was broken.
"""

import contextlib
import faulthandler
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import engine
from engine import rules
from engine.core import wire
from engine.core.arena import ArenaError

CORPUS = Path(__file__).parent / "corpus"
ARENA_BYTES = 4 << 20
STRUCTURES = 4096  # bytes of the heap that are in use by few policies, about
ROWS_AT = 4096 + 1023 * 64
REMOTE_AT = ROWS_AT + 2048 * 192
RECORDS_AT = REMOTE_AT + 16384 * 8
HEAP_AT = RECORDS_AT + 16384 * 64 + 1024 * 32
PATIENCE_S = 20
POLICIES = {
    "all": (
        rules.Breaker(window=20, min_calls=2, open_for=0.01, probes=3, probe_timeout=0.05),
        rules.Bulkhead(4, hold=0.1),
        rules.RateLimit("1000000/s"),
    ),
    "gate": (rules.Breaker(window=10, min_calls=2, open_for=0.01),),
    "pool": (rules.Bulkhead(9),),
    "rate": (rules.RateLimit("1000/s", burst=5),),
    "load": (rules.Shedder(6),),
    "learn": (rules.Shedder("vegas", initial=4, max_limit=20),),
    "mean": (rules.Shedder("gradient2", min_limit=2, initial=4, max_limit=20),),
}
FUNCTIONS = (wire.admit, wire.report, wire.admit_batch, wire.report_batch)


def bind(eng: engine.Engine, widen: int = 0) -> None:
    """Bind the policies, one of them with another limit each time."""
    for name, wanted in POLICIES.items():
        engine.Policy(name, *wanted, engine=eng)
    engine.Policy("pool", rules.Bulkhead(9 + widen % 100), engine=eng)


def use(eng: engine.Engine, generator: random.Random) -> None:
    """A little of everything; errors in words are what a damaged arena deserves."""
    name = generator.choice(list(POLICIES))
    with contextlib.suppress(ArenaError, LookupError):
        important, other = generator.choices(range(1, 6), k=2)
        left = generator.choice((None, 0.001))
        held = eng.policy(name).try_acquire(priority=other, revocable=generator.random() < 0.5)
        permit = eng.policy(name).try_acquire(priority=important, deadline=left)
        assert held.reason or held.revoked in (False, True)
        if permit:
            getattr(permit, generator.choice(("success", "failure", "ignore")))()
    with contextlib.suppress(ArenaError, wire.WireError):
        if token := token_of(wire.admit(eng.arena, b"\x0a" + bytes([len(name)]) + name.encode())):
            wire.report(eng.arena, b"\x0a" + bytes([len(token)]) + token + b"\x10\x01")
    with contextlib.suppress(ArenaError):
        engine.Counter(name=f"c{generator.randrange(3)}", engine=eng).inc()


def token_of(answer: bytes) -> bytes:
    """The permit of an AdmitResponse, or nothing."""
    return answer[4 : 4 + answer[3]] if answer.startswith(b"\x08\x01\x1a") else b""


# ---- the arena's image ----


def flips(memory: mmap.mmap, generator: random.Random) -> None:
    """Alter a few bytes: half of the time in what is dense with meaning."""
    dense = ((16, 256), (4096, 640), (REMOTE_AT, 64), (RECORDS_AT, 512), (HEAP_AT, 2 * STRUCTURES))
    regions = (*((at, at + size) for at, size in dense), (0, ARENA_BYTES))
    used = [
        row for row in range(2048) if any(memory[ROWS_AT + row * 192 : ROWS_AT + row * 192 + 8])
    ]
    for _ in range(generator.randrange(1, 9)):
        low, high = generator.choice(regions)
        if used and generator.random() < 0.2:
            low = generator.choice(used)
            high = low + 192
        at = generator.randrange(low, high)
        memory[at] = generator.choice((0, 0xFF, generator.randrange(256), memory[at] ^ 1))


def with_damage(path: Path, generator: random.Random) -> None:
    """Use an arena while it is damaged, and attach to it anew; in a process that may die of it."""
    eng = engine.Engine(path, arena_size=ARENA_BYTES)
    bind(eng)
    for _ in range(20):
        use(eng, generator)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for round_ in range(10):
            flips(memory, generator)
            for _ in range(20):
                use(eng, generator)
            with contextlib.suppress(ArenaError):
                bind(eng, round_ * 13)
            with contextlib.suppress(ArenaError):
                eng.snapshot()
    eng.close()
    with contextlib.suppress(ArenaError), engine.Engine(path) as again:
        again.snapshot()
        bind(again, 7)
        use(again, generator)


def image(until: float, seed: int) -> dict[str, int]:
    """Each try in a child of its own, so that a signal is seen and the next try goes on."""
    counts = {"tries": 0, "signals": 0}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "arena"
        while time.monotonic() < until:
            generator = random.Random(seed + counts["tries"])
            status = in_child(partial(with_damage, path, generator))
            if status:
                print(f"image, seed {seed + counts['tries']}: status {status}", flush=True)
                counts["signals"] += 1
            for name in os.listdir(folder):
                os.unlink(Path(folder) / name)
            counts["tries"] += 1
    return counts


def in_child(work: Callable[[], Any]) -> int:
    """Exit status of a forked child that did `work`, and had so many seconds for it."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_S)
        faulthandler.enable()
        with contextlib.suppress(SystemExit):
            work()
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---- permits and messages ----


def altered(data: bytes, generator: random.Random) -> bytes:
    """A few bits flipped, bytes dropped, doubled or put in, or the end cut off."""
    out = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        at = generator.randrange(len(out) + 1)
        match generator.randrange(5):
            case 0 if at < len(out):
                out[at] ^= 1 << generator.randrange(8)
            case 1:
                del out[at : at + generator.randrange(1, 4)]
            case 2:
                out[at:at] = out[at : at + generator.randrange(1, 9)]
            case 3:
                out[at:at] = generator.choice((b"\xff" * 10, b"\x0a\xff\xff\x03", b"\x80", b"\x00"))
            case 4:
                del out[at:]
    return bytes(out)


def token(until: float, seed: int) -> dict[str, int]:
    """No altered permit is worth anything: the one that was granted stays the only one."""
    generator = random.Random(seed)
    counts = {"tries": 0, "believed": 0}
    with engine.Engine(arena_size=ARENA_BYTES) as eng:
        bind(eng)
        while time.monotonic() < until:
            name = generator.choice((b"pool", b"load"))
            permit = token_of(wire.admit(eng.arena, b"\x0a\x04" + name))
            for _ in range(50):
                forged = altered(permit, generator)
                if forged != permit and len(forged) < 128:
                    said = b"\x0a" + bytes([len(forged)]) + forged + b"\x10\x01"
                    counts["believed"] += wire.report(eng.arena, said) != b"\x08\x03"
                    counts["tries"] += 1
            said = b"\x0a" + bytes([len(permit)]) + permit + b"\x10\x01"
            assert wire.report(eng.arena, said) == b"\x08\x01"
    return counts


def corpus() -> Iterator[tuple[str, bytes]]:
    """Every message of the corpus, with its name."""
    for file in sorted(CORPUS.glob("*.hex")):
        yield file.stem, bytes.fromhex(file.read_text().partition("#")[0])


def messages(until: float, seed: int) -> dict[str, int]:
    """Any bytes into any function: an answer or a WireError within the bytes."""
    generator = random.Random(seed)
    counts = {"tries": 0, "answers": 0, "broken": 0}
    seeds = [data for _, data in corpus()]
    with engine.Engine(arena_size=ARENA_BYTES) as eng:
        bind(eng)
        while time.monotonic() < until:
            data = altered(generator.choice(seeds), generator)
            if generator.random() < 0.05 and len(seeds) < 5_000:
                seeds.append(data)
            answered, broken = feed(eng, data)
            counts["tries"] += len(FUNCTIONS)
            counts["answers"] += answered
            counts["broken"] += broken
    return counts


def feed(eng: engine.Engine, data: bytes) -> tuple[int, int]:
    """Answers and broken promises of the four functions."""
    answered = broken = 0
    for function in FUNCTIONS:
        try:
            function(eng.arena, data)
            answered += 1
        except wire.WireError as error:
            broken += not 0 <= error.offset <= len(data)
    return answered, broken


def main(target: str, seconds: str, seed: str = "0") -> int:
    faulthandler.enable()
    run = {"image": image, "token": token, "wire": messages}[target]
    counts = run(time.monotonic() + float(seconds), int(seed))
    print(target, *(f"{what} {count}" for what, count in counts.items()), sep=", ")
    return any(counts.get(what) for what in ("signals", "believed", "broken"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
