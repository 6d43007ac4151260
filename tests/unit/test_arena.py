"""The arena file: what does not fit is refused in words, and never ends in a signal."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import Bulkhead, Counter, Engine, Policy, rules
from engine.core.arena import MIN_SIZE, Arena, ArenaError

VERSION_AT, LAYOUT_HASH_AT, SIZE_AT, HEAP_AT_AT, BOOT_ID_AT = 16, 8, 32, 64, 72
STATE_AT, HEAP_USED_AT, HEADER_BYTES = 128, 136, 192
ROOT = Path(engine.__file__).parent.parent

USE = """
import contextlib, sys, engine
from engine import rules
try:
    with engine.Engine(sys.argv[1]) as eng:
        for name in eng.names():
            with contextlib.suppress(LookupError):
                eng.policy(name).try_acquire()
        engine.Policy("shop/pay", rules.Bulkhead(2), rules.Breaker(), rules.RateLimit("9/s"),
                      engine=eng).try_acquire()
        engine.Counter(engine=eng, name="visits").inc()
        eng.snapshot()
        eng.repair()
        engine.core.wire.admit(eng.arena, b"\\x0a\\x08shop/pay")
    print("works")
except engine.ArenaError as error:
    print("ArenaError:", error)
"""


def use(path: Path, *, code: str = USE) -> str:
    """Use the arena in a process of its own, which must not be ended by a signal."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    return done.stdout.strip()


def patch(path: Path, at: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.fixture
def made(arena: Path) -> Path:
    """An arena that was used and left."""
    with Engine(arena, arena_size=MIN_SIZE) as eng:
        Policy("shop/pay", rules.Bulkhead(2), rules.Breaker(), engine=eng).try_acquire().success()
        Counter(engine=eng, name="visits").inc()
    return arena


def test_file_is_private_and_as_large_as_wanted(made: Path) -> None:
    status = made.stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_size == MIN_SIZE
    assert status.st_blocks * 512 >= MIN_SIZE, "the file is sparse: a full disk would be a SIGBUS"
    assert sorted(os.listdir(made.parent)) == ["arena", "arena.lock"]


def test_left_arena_works_again(made: Path) -> None:
    assert use(made) == "works"


SPOILERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zeros": (lambda path: path.write_bytes(bytes(MIN_SIZE)), "not an arena"),
    "empty": (lambda path: path.write_bytes(b""), "truncated"),
    "text": (lambda path: path.write_text("hello\n" * 1_000_000), "not an arena"),
    "version": (lambda path: patch(path, VERSION_AT, b"\x63"), "layout version 99"),
    "layout": (lambda path: patch(path, LAYOUT_HASH_AT, b"another!"), "with another layout"),
    "unfinished": (lambda path: patch(path, STATE_AT, bytes(8)), "never finished"),
    "truncated": (lambda path: os.truncate(path, MIN_SIZE - 4096), "truncated"),
    "cut in half": (lambda path: os.truncate(path, MIN_SIZE // 2), "truncated"),
    "header only": (lambda path: os.truncate(path, HEADER_BYTES), "truncated"),
    "cut in the header": (lambda path: os.truncate(path, 100), "truncated"),
    "grown": (lambda path: os.truncate(path, MIN_SIZE + 4096), "bytes instead of"),
    "size": (lambda path: patch(path, SIZE_AT, b"\xff" * 8), "bytes instead of"),
    "contents": (lambda path: patch(path, HEAP_AT_AT, b"\xff" * 8), "damaged"),
    "heap": (lambda path: patch(path, HEAP_USED_AT, b"\xff" * 8), "damaged"),
    "others may read": (lambda path: path.chmod(0o644), "mode 644"),
    "group may write": (lambda path: path.chmod(0o620), "mode 620"),
    "symlink": (
        lambda path: path.rename(f"{path}2").with_name("arena").symlink_to("arena2"),
        "symb",
    ),
    "symlink to nothing": (lambda path: (path.unlink(), path.symlink_to("nothing")), "symbolic"),
    "directory": (lambda path: (path.unlink(), path.mkdir()), "directory"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path, 0o600)), "regular file"),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_file_that_does_not_fit_is_refused_in_words(made: Path, spoiler: str) -> None:
    spoil, words = SPOILERS[spoiler]
    spoil(made)
    said = use(made)
    assert said.startswith(f"ArenaError: {made}: ")
    assert words in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_refused(made: Path) -> None:
    os.chown(made, 12345, -1)
    assert "belongs to user 12345" in use(made)


def test_missing_folder_is_refused_in_words(tmp_path: Path) -> None:
    said = use(tmp_path / "nowhere" / "arena")
    assert said.startswith("ArenaError: ")
    assert "nowhere" in said


@pytest.mark.parametrize("where", ["arena.lock", "arena.new"])
def test_symlink_beside_the_arena_is_not_followed(tmp_path: Path, where: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / where).symlink_to(victim)
    said = use(tmp_path / "arena")
    assert victim.read_text() == "precious"
    assert said == "works" or "symbolic" in said


def test_lock_file_of_others_is_refused(made: Path) -> None:
    Path(f"{made}.lock").chmod(0o666)
    assert "mode 666" in use(made)


def test_arena_of_an_earlier_boot_is_made_anew_when_nobody_uses_it(made: Path) -> None:
    patch(made, BOOT_ID_AT, bytes(range(16)))
    assert use(made) == "works"
    with Engine(made) as eng:
        assert Counter(engine=eng, name="visits").value == 1
        assert eng.snapshot().policies[0].admitted == 2


def test_arena_of_an_earlier_boot_is_refused_when_somebody_uses_it(made: Path) -> None:
    with Engine(made) as eng:
        patch(made, BOOT_ID_AT, bytes(range(16)))
        assert "another boot and still in use" in use(made)
        assert Counter(engine=eng, name="visits").value == 1


def test_leftovers_of_a_killed_maker_do_no_harm(arena: Path) -> None:
    Path(f"{arena}.new").write_bytes(b"half")
    Path(f"{arena}.new").chmod(0o600)
    assert use(arena) == "works"


def test_replaced_file_is_refused_when_this_process_uses_the_old_one(made: Path) -> None:
    with Engine(made) as eng:
        made.unlink()
        with pytest.raises(ArenaError, match="replaced"):
            Engine(made)
        Counter(engine=eng, name="visits").inc()


def test_paths_to_one_file_are_one_arena(made: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(tmp_path)
    with Engine(made) as first, Engine(tmp_path / "way" / "arena") as second:
        assert first.arena is second.arena


def test_private_arena_has_no_path() -> None:
    arena = Arena.private()
    assert (arena.path, arena.closed) == (None, False)
    arena.close()
    assert arena.closed


@pytest.mark.parametrize("size", [MIN_SIZE - 1, 2**31 + 1, 2**70, -1])
def test_size_out_of_range_is_complained_about(arena: Path, size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        Arena.open(arena, size)
    assert not arena.exists()


def test_size_is_that_of_the_file_when_there_is_one(made: Path) -> None:
    with Engine(made, arena_size=4 * MIN_SIZE) as eng:
        assert eng.snapshot().arena.heap_size < MIN_SIZE


FLIPS = """
import os, random, sys
import engine
from pathlib import Path
path = Path(sys.argv[1])
image = path.read_bytes()
generator = random.Random(int(sys.argv[2]))
first, last = int(sys.argv[3]), int(sys.argv[4])
use = compile(sys.argv[5], "use", "exec")
said = {}
for turn in range(int(sys.argv[6])):
    spoilt = bytearray(image)
    for _ in range(generator.choice((1, 1, 2, 8))):
        spoilt[generator.randrange(first, last)] ^= 1 << generator.randrange(8)
    mine = path.with_name(f"flip{turn}")
    mine.write_bytes(spoilt)
    mine.chmod(0o600)
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv[1] = str(mine)
            exec(use, {})
            code = 0
        except Exception as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        print(turn, "status", status)
    for name in (mine, Path(f"{mine}.lock")):
        name.unlink(missing_ok=True)
print("done")
"""


def flip(path: Path, seed: int, first: int, last: int, times: int) -> str:
    """Use copies of the arena with random bits flipped; what comes back names those that died."""
    done = subprocess.run(
        [sys.executable, "-c", FLIPS, path, *map(str, (seed, first, last)), USE, str(times)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.strip() + done.stderr.strip()[-2_000:]


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bits_in_the_header_end_in_words(made: Path, seed: int) -> None:
    assert flip(made, seed, 0, HEADER_BYTES, 150) == "done"


def used_bytes(path: Path) -> tuple[int, int]:
    """Where the heap begins, and where its used part ends."""
    image = path.read_bytes()[:HEADER_BYTES]
    heap_at = int.from_bytes(image[HEAP_AT_AT : HEAP_AT_AT + 8], "little")
    return heap_at, heap_at + int.from_bytes(image[HEAP_USED_AT : HEAP_USED_AT + 8], "little")


def test_flipped_bits_in_the_heap_end_in_words(made: Path) -> None:
    assert flip(made, 3, *used_bytes(made), 300) == "done"


def test_flipped_bits_in_the_directory_end_in_words(made: Path) -> None:
    image = made.read_bytes()
    rows_at = int.from_bytes(image[48:56], "little")
    named = image.index(b"shop/pay", rows_at)
    start = rows_at + (named - rows_at) // 192 * 192
    assert flip(made, 4, start, start + 192, 150) == "done"


def test_owner_is_found_again_when_its_arena_is_damaged_elsewhere(made: Path) -> None:
    generator = random.Random(5)
    with Engine(made) as eng:
        pool = Bulkhead(2, engine=eng, name="shop/pool")
        assert pool.try_acquire()
        patch(made, 4096 + 64 * 3, generator.randbytes(64 * 100))
        assert eng.snapshot().policies
        assert pool.in_use == 1
