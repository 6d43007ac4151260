"""What the processes of these tests do: `python workers.py FUNCTION ARENA [ARGUMENT...]`.

A worker says JSON lines on standard output and is told lines on standard input.
"""

import asyncio
import contextlib
import itertools
import json
import mmap
import multiprocessing
import os
import random
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine
from engine import rules
from engine.core import wire
from engine.policy import Policy

HOUR = {"window": "1h", "failure_rate": 1.0}
FIFTH = 720_000


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def told() -> str:
    return sys.stdin.readline().strip()


@contextlib.contextmanager
def shared_words(path: str) -> Iterator[memoryview]:
    """The 64-bit words of a file that the test made."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(Path(path).open("r+b"))
        memory = stack.enter_context(mmap.mmap(file.fileno(), 0))
        raw = stack.enter_context(memoryview(memory))
        yield stack.enter_context(raw.cast("Q"))


# ---- bulkhead ----


def share_a_bulkhead(arena: str, board: str, seat: str, tries: str) -> None:
    """Take and give back permits at random, publishing on `board` how many are surely held.

    A worker adds to its own word after taking and subtracts before giving back. While it looks at
    the other word, its own is true and the other at most true: a sum over 8 is an over-admission.
    """
    eng = engine.Engine(arena)
    pool = engine.Policy("pool/eight", rules.Bulkhead(8), engine=eng)
    mine, theirs = int(seat), 1 - int(seat)
    held: deque[Any] = deque()
    most = refused = 0
    generator = random.Random(mine)
    wishes = generator.choices(range(1, 8), k=1_000)
    with shared_words(board) as words:
        say("ready")
        told()
        for turn in range(int(tries)):
            permit = pool.try_acquire()
            if permit:
                held.append(permit)
                words[mine] = len(held)
                most = max(most, len(held) + words[theirs])
            else:
                refused += 1
            while len(held) > wishes[turn % 1_000]:
                words[mine] = len(held) - 1
                held.popleft().success()
        words[mine] = 0
    permit = None
    held.clear()
    say({"most": most, "refused": refused})


def share_a_bulkhead_by_wire(arena: str, board: str, seat: str, tries: str) -> None:
    """Hold up to five remote permits of eight; never count down before a permit is given back."""
    mine, theirs = int(seat), 1 - int(seat)
    eng = engine.Engine(arena)
    engine.Policy("pool/eight", rules.Bulkhead(8), engine=eng)
    request = b"\x0a\x0apool/eight"
    held: deque[bytes] = deque()
    most = refused = unsettled = 0
    with shared_words(board) as words:
        say("ready")
        told()
        for _ in range(int(tries)):
            token = token_of(wire.admit(eng.arena, request))
            if token:
                held.append(token)
                words[mine] = len(held)
                most = max(most, len(held) + words[theirs])
            refused += not token
            if len(held) > 5 or (held and not token):
                words[mine] = len(held) - 1
                unsettled += wire.report(eng.arena, reported(held.popleft())) != b"\x08\x01"
        words[mine] = 0
        for token in held:
            unsettled += wire.report(eng.arena, reported(token)) != b"\x08\x01"
    say({"most": most, "refused": refused, "unsettled": unsettled})


def reported(token: bytes) -> bytes:
    """A ReportRequest: it went well."""
    return b"\x0a\x18" + token + b"\x10\x01"


def token_of(response: bytes) -> bytes:
    """The permit of an AdmitResponse: its 24 bytes follow the tag of field 3 and their length."""
    at = response.find(b"\x1a\x18")
    return response[at + 2 : at + 26] if response.startswith(b"\x08\x01") and at >= 0 else b""


def hold(arena: str, name: str, count: str) -> None:
    """Hold permits; `report` settles them all and says how many reports counted."""
    pool = engine.Engine(arena).policy(name)
    permits = [pool.try_acquire() for _ in range(int(count))]
    say(sum(map(bool, permits)))
    if told() == "report":
        say(sum(permit.success() for permit in permits if permit))


# ---- waiting ----


def wait(arena: str, name: str, max_wait: str, form: str) -> None:
    """Wait for a permit whenever told to, as a thread or a task; say how it ended, and when."""
    pool = engine.Engine(arena).policy(name)
    say("ready")
    while told():
        if form == "thread":
            permit = pool.acquire_sync(float(max_wait))
        else:
            permit = asyncio.run(acquire(pool, float(max_wait)))
        say([bool(permit), time.monotonic()])
        if permit:
            permit.success()


async def acquire(pool: Policy, max_wait: float) -> Any:
    return await pool.acquire(max_wait)


def contend(arena: str, board: str, seat: str, threads: str, times: str) -> None:
    """Threads that wait for permits; each permit names its cell, which has one holder at a time."""
    pool = engine.Engine(arena).policy("pool/three")
    counts = [0, 0]

    def take(number: int) -> None:
        for _ in range(int(times)):
            permit = pool.acquire_sync(60.0)
            if not permit:
                continue
            cell, _ = permit.place
            counts[0] += words[cell] != 0
            words[cell] = number
            time.sleep(0)
            counts[0] += words[cell] != number
            words[cell] = 0
            permit.success()
            counts[1] += 1

    with shared_words(board) as words:
        say("ready")
        told()
        begun = [
            threading.Thread(target=take, args=(1 + int(seat) * 100 + number,))
            for number in range(int(threads))
        ]
        for thread in begun:
            thread.start()
        for thread in begun:
            thread.join()
    say({"overlaps": counts[0], "admitted": counts[1]})


def fork_while_waiting(arena: str) -> None:
    """A child forked beside a thread that waits has no line, waits by itself and is admitted."""
    eng = engine.Engine(arena)
    pool = engine.Policy("pool/fork", rules.Bulkhead(1, queue=4), engine=eng)
    permits = [pool.try_acquire()]
    waiting = threading.Thread(target=lambda: permits.append(pool.acquire_sync(60.0)))
    waiting.start()
    while eng.snapshot().policies[0].bulkhead.waiting == 0:
        time.sleep(0.001)

    def ask() -> Any:
        return [bool(pool.acquire_sync(0.05)), bool(asyncio.run(acquire(pool, 0.05)))]

    def ask_later() -> Any:
        permit = pool.acquire_sync(60.0)
        return [bool(permit), permit.success()]

    refused = in_child(ask)
    queued = eng.snapshot().policies[0].bulkhead.waiting
    permits[0].success()
    waiting.join()
    settled = permits[1].success()
    say({"refused": refused, "queued": queued, "settled": settled, "later": in_child(ask_later)})


# ---- load shedder ----


def share_a_shedder(arena: str, board: str, seat: str, tries: str) -> None:
    """Take and give back places of all classes; a cell has one holder at a time."""
    load = engine.Engine(arena).policy("load/eight")
    generator = random.Random(int(seat))
    mine = int(seat) + 1
    held: deque[Any] = deque()
    overlaps = admitted = refused = 0
    with shared_words(board) as owners:
        say("ready")
        told()
        for _ in range(int(tries)):
            permit = load.try_acquire(priority=generator.randint(1, 5))
            if permit:
                overlaps += owners[permit.seat[0]] != 0
                owners[permit.seat[0]] = mine
                held.append(permit)
                admitted += 1
            else:
                refused += 1
            while len(held) > generator.randint(0, 7):
                overlaps += owners[held[0].seat[0]] != mine
                owners[held[0].seat[0]] = 0
                held.popleft().success()
        for permit in held:
            owners[permit.seat[0]] = 0
    say({"overlaps": overlaps, "admitted": admitted, "refused": refused})
    told()


def revoke_one_another(arena: str, seat: str, tries: str) -> None:
    """Take revocable places of all classes; how many were seen to be lost."""
    load = engine.Engine(arena).policy("load/eight")
    generator = random.Random(int(seat))
    held: deque[Any] = deque()
    lost = admitted = 0
    say("ready")
    told()
    for _ in range(int(tries)):
        permit = load.try_acquire(priority=generator.randint(1, 5), revocable=True)
        if permit:
            held.append(permit)
            admitted += 1
        while len(held) > generator.randint(0, 7):
            lost += held[0].revoked
            held.popleft().success()
    permit = None
    held.clear()
    say({"lost": lost, "admitted": admitted})
    told()


def shed_for_ever(arena: str) -> None:
    """Take and give back places until killed."""
    load = engine.Engine(arena).policy("load/eight")
    say("ready")
    while True:
        permits = [load.try_acquire(priority=1, revocable=True) for _ in range(3)]
        for permit in filter(None, permits):
            permit.success()


# ---- counters and rates ----


def count(arena: str, times: str) -> None:
    """Count, in steps of 1 and of 3."""
    counter = engine.Counter(engine=engine.Engine(arena), name="visits")
    say("ready")
    told()
    for _ in range(int(times)):
        counter.inc()
    counter.add(3)
    say("done")


def count_for_ever(arena: str, board: str) -> None:
    """Count and publish after each step how far it got."""
    counter = engine.Counter(engine=engine.Engine(arena), name="visits")
    with shared_words(board) as words:
        say("ready")
        done = words[0]
        while True:
            counter.inc()
            done += 1
            words[0] = done


def count_under_many_names(arena: str, names: str) -> None:
    """Bind counters that nobody or others have bound, and count once in each."""
    eng = engine.Engine(arena)
    say("ready")
    told()
    for name in range(int(names)):
        engine.Counter(engine=eng, name=f"visits/{name}").inc()
    say("done")


def saturate(arena: str, until: str) -> None:
    """Ask a rate limit as often as possible until a monotonic time; say how many were admitted."""
    limiter = engine.Engine(arena).policy("rate/shared")
    end = float(until)
    admitted = 0
    while time.monotonic() < end:
        for _ in range(50):
            admitted += bool(limiter.try_acquire())
    say({"admitted": admitted, "ended": time.monotonic()})


def call_in_threads(arena: str) -> None:
    """Make calls in two threads until told to stop, some of which fail or are given up."""
    pool = engine.Engine(arena).policy("calls/threads")
    stopped = threading.Event()

    def make_calls() -> None:
        while not stopped.is_set():
            for end in ("success", "failure", "ignore"):
                if permit := pool.try_acquire():
                    getattr(permit, end)()

    threads = [threading.Thread(target=make_calls) for _ in range(2)]
    for thread in threads:
        thread.start()
    say("ready")
    told()
    stopped.set()
    for thread in threads:
        thread.join()
    say("done")


def admit_there_report_here(arena: str) -> None:
    """A child admits over the wire; this process, whose meter is the older, reports until told."""
    eng = engine.Engine(arena)
    eng.snapshot()
    reader, writer = os.pipe()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    child = os.fork()
    if child == 0:
        while not stopped.is_set():
            if token := token_of(wire.admit(eng.arena, b"\x0a\x0ccalls/remote")):
                os.write(writer, token)
        os._exit(0)
    os.close(writer)
    say("ready")
    while token := os.read(reader, 24):
        wire.report(eng.arena, reported(token) + b"\x18\x07")
        if not stopped.is_set() and select.select([sys.stdin], [], [], 0)[0]:
            stopped.set()
            os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    say("done")


def time_calls(arena: str, times: str) -> None:
    """So many calls of no time to speak of; then a call is admitted and the process killed."""
    pool = engine.Engine(arena).policy("pool/timed")
    for _ in range(int(times)):
        pool.try_acquire().success()
    pool.try_acquire()
    say("done")
    os.kill(os.getpid(), signal.SIGKILL)


# ---- breaker ----


def retry_always(arena: str, calls: str) -> None:
    """Call so many times and want a retry for each; say how many were admitted."""
    eng = engine.Engine(arena)
    rule = rules.RetryBudget(ratio=0.2, min_rate="1/h", burst=80_000)
    policy = engine.Policy("retry/shared", rule, engine=eng)
    say("ready")
    told()
    retried = 0
    for _ in range(int(calls)):
        policy.try_acquire()
        retried += bool(policy.try_acquire(attempt=2))
    say(retried)
    told()


def race_for_keys(arena: str, board: str, seat: str, keys: str) -> None:
    """Take five tokens of each key, if they are there, while passers-by claim and leave cells.

    A worker comes to a key only when the other has come to it as well.
    """
    policy = engine.Engine(arena).policy("keyed/race")
    mine, theirs = int(seat), 1 - int(seat)
    for number in range(20 * int(keys)):
        policy.try_acquire(key=f"at first {number}")
    admitted = []
    with shared_words(board) as words:
        say("ready")
        told()
        for number in range(int(keys)):
            policy.try_acquire(key=f"passer-by {seat} {number}")
            words[mine] = number + 1
            while words[theirs] <= number:
                os.sched_yield()
            admitted.append(sum(bool(policy.try_acquire(FIFTH, f"key {number}")) for _ in range(5)))
    say(admitted)
    told()


def publish_for_ever(arena: str) -> None:
    """Publish one number in two rules, another one each time."""
    eng = engine.Engine(arena)
    for number in itertools.cycle(range(1, 64)):
        pair = (rules.Bulkhead(number), rules.RateLimit("1/s", burst=number))
        policy = engine.Policy("pool/pair", *pair, engine=eng)
        if policy.version == 1:
            say("published")


def probe(arena: str, callers: str) -> None:
    """At each monotonic time told, make so many calls at once; then fail them when told."""
    circuit = engine.Engine(arena).policy("circuit/shared")
    say("ready")
    while line := told():
        while time.monotonic() < float(line):
            pass
        verdicts = [circuit.try_acquire() for _ in range(int(callers))]
        say(sum(map(bool, verdicts)))
        told()
        for permit in filter(None, verdicts):
            permit.failure()
        say("settled")


# ---- forks and owners ----


def record_by_time(arena: str, times: str) -> None:
    """Record a failure and a success so many times."""
    hour = engine.CircuitBreaker(name="circuit/hour", engine=engine.Engine(arena), **HOUR)
    say("ready")
    told()
    for _ in range(int(times)):
        hour.record(True)
        hour.record(False)
    say("done")


def ask(arena: str, name: str, times: str) -> None:
    """Ask so many times to pass; how often it was granted."""
    circuit = engine.Engine(arena).policy(name)
    say("ready")
    told()
    say(sum(bool(circuit.try_acquire()) for _ in range(int(times))))


def in_child(work: Callable[[], Any]) -> Any:
    """Do `work` in a forked child that ends like any Python program; return what it returned."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            sys.stdout.flush()
            os.close(writer)
        sys.exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(said)


def open_pool(arena: str, limit: int) -> tuple[engine.Engine, Policy]:
    """An engine, on a private arena where `arena` is "private", and its bulkhead."""
    eng = engine.Engine(None if arena == "private" else arena)
    return eng, engine.Policy("pool/fork", rules.Bulkhead(limit), engine=eng)


def in_use(eng: engine.Engine) -> int:
    return eng.snapshot().policies[0].bulkhead.in_use


def fork_with_a_permit(arena: str) -> None:
    """A child that settles, drops or leaves alone its parent's permit changes nothing."""
    eng, pool = open_pool(arena, 2)
    permits = [pool.try_acquire()]

    def settle() -> Any:
        return permits[0].success()

    def use_then_settle() -> Any:
        own = pool.try_acquire()
        return [bool(own), permits[0].failure(), own.success()]

    def drop() -> Any:
        permits.clear()
        return "dropped"

    said = {work.__name__: in_child(work) for work in (settle, use_then_settle, drop)}
    said["left"] = in_child(lambda: "left")
    said["in_use"] = in_use(eng)
    said["own"] = permits[0].success()
    said["void"] = eng.snapshot().policies[0].void
    said["after"] = in_use(eng)
    say(said)


def fork_with_a_full_pool(arena: str) -> None:
    """Whether a child is admitted while its parent holds the only permit."""
    eng, pool = open_pool(arena, 1)
    permit = pool.try_acquire()
    child = in_child(lambda: bool(pool.try_acquire()))
    say({"child": child, "parent": permit.success(), "in_use": in_use(eng)})


def fork_inside_with(arena: str) -> None:
    """A child that leaves its parent's `with` block gives nothing back."""
    eng, pool = open_pool(arena, 1)
    parent = os.getpid()
    reader, writer = os.pipe()
    with pool:
        if os.fork() == 0:
            os.close(reader)
    if os.getpid() != parent:
        os.close(writer)
        sys.exit(0)
    os.close(writer)
    os.read(reader, 1)
    os.wait()
    say({"in_use": in_use(eng), "success": eng.snapshot().policies[0].success})


def fork_first_use(arena: str) -> None:
    """The rows of the owner table that stamp the permits of a parent and of two children."""
    eng, pool = open_pool(arena, 4)

    def row() -> Any:
        before = eng.arena.owner_index
        pool.try_acquire().success()
        return [before, eng.arena.owner_index]

    say([eng.arena.owner_index, in_child(row), in_child(lambda: [row(), in_child(row)])])


def fork_pool(arena: str, calls: str) -> None:
    """A multiprocessing pool of forked children calls a decorated function."""
    eng, pool = open_pool(arena, 8)
    global guarded
    guarded = pool(abs)
    with multiprocessing.get_context("fork").Pool(4) as children:
        results = children.map(call_guarded, range(-int(calls), 0), chunksize=10)
        children.close()
        children.join()
    eng.repair()
    snapshot = eng.snapshot()
    say(
        {
            "sum": sum(results),
            "success": snapshot.policies[0].success,
            "in_use": snapshot.policies[0].bulkhead.in_use,
            "owners": snapshot.arena.owners,
        }
    )


guarded: Callable[[int], int] = abs


def call_guarded(number: int) -> int:
    return guarded(number)


def take_init_lock(arena: str) -> None:
    """Say when the init lock of the arena was had; it waits for it."""
    say("ready")
    told()
    with engine.Engine(arena).arena.init_lock():
        say("had")


def visit(arena: str) -> None:
    """Attach, hold a permit, and end without giving anything back."""
    eng, pool = open_pool(arena, 64)
    pool.__enter__()
    say(eng.arena.owner_index)
    os._exit(0)


# ---- storm ----

PLACES = 8  # children at work at a time
CELLS, OPS, FAULTS, DOOMED = 0, 64, 80, 128  # where things lie on the board, in words
BATCH = 64


def storm(arena: str, board: str, inherit: str, seconds: str, ops: str, kills: str) -> None:
    """Keep children at work and kill one every 50 ms, till it was long, much and often enough.

    One in ten is stopped for a while first. Children attach themselves or, with `inherit`, use the
    engine that they were forked with. A child has a number of its own, the next one another.
    """
    inherited = engine.Engine(arena) if inherit == "inherit" else None
    generator = random.Random(1)
    numbers = itertools.count(1)
    begun = time.monotonic()
    killed = 0

    def spawn(place: int) -> tuple[int, int]:
        number = next(numbers)
        return number, fork_to(
            lambda: work(inherited or engine.Engine(arena), words, place, number)
        )

    def kill(place: int) -> None:
        number, pid = children[place]
        words[DOOMED + number] = 1
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

    with shared_words(board) as words:
        children = [spawn(place) for place in range(PLACES)]
        say("ready")
        while (
            time.monotonic() < begun + float(seconds)
            or sum(words[OPS : OPS + PLACES]) < int(ops)
            or killed < int(kills)
        ):
            time.sleep(0.05)
            place, stopped = generator.sample(range(PLACES), 2)
            if killed % 10 == 0:
                os.kill(children[stopped][1], signal.SIGSTOP)
            elif killed % 10 == 5:
                for _, pid in children:
                    os.kill(pid, signal.SIGCONT)
            kill(place)
            killed += 1
            children[place] = spawn(place)
        lasted = time.monotonic() - begun
        for place in range(PLACES):
            kill(place)
        counted = {"ops": sum(words[OPS : OPS + PLACES]), "seconds": lasted}
        faults = sum(words[FAULTS : FAULTS + PLACES])
    say(counted | {"kills": killed + PLACES, "faults": faults})
    told()


def fork_to(work: Callable[[], None]) -> int:
    """Do `work` in a child that is going to be killed, and return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return pid


def work(eng: engine.Engine, words: memoryview, place: int, number: int) -> None:
    """Take and settle permits, and see that nobody who lives holds the cell of a new one.

    The word of a cell says who holds it and in which generation. Who takes a cell looks at it
    before it writes its own; who gives one back looks whether its own still stands there. Two who
    hold one cell at a time meet in one of the looks. A permit has not the generation of the last.
    """
    pay = eng.policy("storm/pay")
    generator = random.Random(number)
    held: list[tuple[Any, int, int]] = []
    parent = os.getppid()
    while os.getppid() == parent:
        admitted = 0
        for _ in range(BATCH):
            permit = pay.try_acquire()
            if permit:
                cell, generation = permit.place
                mine = number << 32 | generation
                before = words[CELLS + cell]
                words[FAULTS + place] += taken_wrongly(before, mine, words)
                words[CELLS + cell] = mine
                held.append((permit, cell, mine))
                admitted += 1
            if len(held) > 2 or (held and not permit):
                settled, cell, mine = held.pop(generator.randrange(len(held)))
                words[FAULTS + place] += words[CELLS + cell] != mine
                words[CELLS + cell] = mine & 0xFFFFFFFF
                end = generator.choices(("success", "failure", "ignore"), (91, 6, 3))[0]
                getattr(settled, end)()
        words[OPS + place] += admitted


def taken_wrongly(before: int, mine: int, words: memoryview) -> bool:
    """Whether the last holder of a cell still lives, or had a permit of the same generation."""
    holder = before >> 32
    alive = holder != 0 and not words[DOOMED + holder]
    return alive or (before != 0 and before & 0xFFFFFFFF == mine & 0xFFFFFFFF)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
