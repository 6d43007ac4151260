"""Kill every operation at every atomic step, repair, and look at what is left.

`python tests/crash/sweep.py [--full] [NAME...]` builds the core with ADM_CRASH_POINTS under
build/crash. One process, the witness, maps an arena and holds a permit of every bulkhead. For the
k-th point of an operation it puts the arena back as it was and forks a child that does the
operation and is killed there. A second child attaches, repairs and checks the promises below. Then
the repairer is killed at each of its own points as well, and a third process checks.

The short form stops at the points round writes: between two of them the arena does not change,
whatever is loaded. The full form stops at every point of the operation.

Promises: no permit is lost, none is given back that somebody holds, a circuit closes again,
counters and tokens are off by the killed operation at most and no outcome is counted without its
admission, everything can be bound again.
"""

import argparse
import ctypes
import fcntl
import gc
import json
import mmap
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import variant  # noqa: E402  (found by the path above)

BUILT = variant.build("crash")
POINTS = BUILT / "point.so"
CC = sysconfig.get_config_var("CC").split()[0]
subprocess.run([CC, "-shared", "-fPIC", "-o", POINTS, HERE / "point.c"], check=True)
points = ctypes.CDLL(str(POINTS), mode=ctypes.RTLD_GLOBAL)
sys.path.insert(0, str(BUILT))

# After the hook is loaded, and from the folder of that build.
import cases  # noqa: E402

import engine  # noqa: E402
import engine.runtime  # noqa: E402
from engine.testing import ManualClock  # noqa: E402

steps = ctypes.c_uint64.in_dll(points, "adm_crash_steps")
kill_at = ctypes.c_uint64.in_dll(points, "adm_crash_at")
writes_only = ctypes.c_uint32.in_dll(points, "adm_crash_writes_only")

ARENA_BYTES = 4 << 20
OWNERS_AT, OWNER_BYTES, OWNERS_LOOKED_AT = 4096, 64, 8
COUNTS = ("admitted", "success", "failure", "ignored", "void")
MOST_TOKENS = 3  # that one operation of `cases` takes
PAST_EVERY_EXPIRY_S = 100.0


class Sweep:
    """The witness: the arena, its images, and the children that die on it."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.full = full
        self.path = folder / "arena"
        self.kills = self.checks = 0
        self.complaints: list[str] = []
        self.board = mmap.mmap(-1, 1 << 16)
        self.clock = ManualClock(1_000.0)
        self.eng = engine.Engine(self.path, arena_size=ARENA_BYTES, clock=self.clock, chaos=True)
        world = cases.World(self.eng, self.clock)
        world.bind()
        self.held = [world.take(cases.ALL), world.take(cases.POOL)]
        with self.path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.base = self.image()
        self.locks = open(f"{self.path}.lock", "r+b")  # noqa: SIM115  (closing it drops all locks)
        gc.freeze()

    def keep_row(self, operation: int) -> None:
        """Take (LOCK_EX) or free (LOCK_UN) row 2, so that who dies next has another row.

        Who attaches after that takes row 2 and has to find the dead one's, which is not its own.
        """
        fcntl.lockf(self.locks, operation, 1, 2)

    def image(self) -> bytes:
        """The arena now, but for what differs from run to run: pids and times of attachment."""
        for row in range(2, OWNERS_LOOKED_AT):
            at = OWNERS_AT + row * OWNER_BYTES
            alive = any(self.memory[at + 8 : at + 16])
            self.memory[at + 8 : at + 24] = bytes([alive, *bytes(15)])
        return self.memory[:]

    def fork(self, work: Callable[[], Any]) -> bool:
        """Do `work` in a child. False where it was killed; what it raises is a complaint."""
        self.board[:4] = bytes(4)
        pid = os.fork()
        if pid == 0:
            try:
                self.say({"end": "done"} | (work() or {}))
            except BaseException:
                kill_at.value = 0
                self.say({"end": traceback.format_exc()})
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status not in (0, -signal.SIGKILL):
            self.board[:4] = bytes(4)
            self.say({"end": f"status {status}"})
            return True
        return status == 0

    def say(self, what: dict[str, Any]) -> None:
        said = json.dumps(what).encode()
        self.board[: 4 + len(said)] = len(said).to_bytes(4, "little") + said

    def heard(self) -> dict[str, Any]:
        size = int.from_bytes(self.board[:4], "little")
        return json.loads(self.board[4 : 4 + size])

    def complain(self, where: str) -> None:
        if (end := self.heard()["end"]) != "done":
            self.complaints.append(f"{where}: {end}")
            print(self.complaints[-1], flush=True)

    def killed_at(self, point: int, work: Callable[[], Any]) -> None:
        """Do `work`, and die at its point of that number."""
        steps.value, kill_at.value = 0, point
        work()
        kill_at.value = 0

    # ---- the three kinds of children ----

    def operate(self, case: cases.Case, point: int) -> None:
        world = cases.World(self.eng, self.clock)
        if case.state == "open":
            world.open(cases.ALL)
        elif case.state == "half_open":
            world.half_open(cases.ALL)
        operation = case.prepare(world)
        self.say({"end": "killed", "clock": self.clock.seconds} | self.figures(world.eng))
        writes_only.value = not self.full
        self.killed_at(point, operation)

    def reopen(self, at_s: float) -> engine.Engine:
        """Attach anew, as a process that has nothing to do with the witness."""
        self.eng.close()
        self.clock.advance(at_s - self.clock.seconds)
        return engine.Engine(self.path, clock=self.clock, chaos=True)

    def repair(self, at_s: float, point: int) -> None:
        writes_only.value = 1
        self.killed_at(point, lambda: self.reopen(at_s).repair())

    def figures(self, eng: engine.Engine) -> dict[str, Any]:
        """Counts and tokens by policy."""
        if eng.arena.closed:
            return {"figures": None}
        found: dict[str, Any] = {}
        snapshot = eng.snapshot()
        for policy in snapshot.policies:
            found[policy.name] = {name: getattr(policy, name) for name in COUNTS}
            found[policy.name]["refused"] = sum(policy.refused.values())
            found[policy.name]["timed"] = policy.latency.count
            if policy.rate_limit:
                found[policy.name]["tokens"] = policy.rate_limit.remaining
            if policy.retry_budget:
                found[policy.name]["retries"] = policy.retry_budget.remaining
        return {"figures": found}

    def check(self, before: dict[str, Any]) -> None:
        eng = self.reopen(before["clock"])
        eng.repair()
        assert eng.snapshot().arena.owners == 2, "a dead owner is taken for a live one"
        self.check_queues(eng)
        self.check_figures(before["figures"], self.figures(eng)["figures"])
        self.check_causes(eng)
        self.check_flag(eng)
        self.check_health(eng)
        self.clock.advance(PAST_EVERY_EXPIRY_S)
        assert eng.snapshot().arena.remote_permits == 0
        self.check_rules(eng)
        world = cases.World(eng, self.clock)
        world.bind()
        engine.Policy("new", *cases.RULES, engine=eng)
        assert engine.Counter(name="visits", engine=eng).value in (0, 3)
        self.check_rules(eng)
        other = f"{self.path}.other"
        with engine.Engine(other, clock=self.clock, arena_size=ARENA_BYTES) as made:
            assert engine.Policy("any", cases.rules.Bulkhead(1), engine=made).try_acquire()
        os.unlink(other)

    def check_queues(self, eng: engine.Engine) -> None:
        for policy in eng.snapshot().policies:
            waiting = policy.bulkhead.waiting if policy.bulkhead else 0
            assert waiting == 0, f"{policy.name}: {waiting} places in the queue are nobody's"

    def check_figures(self, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        for name, figures in (before or {}).items():
            if name not in after:  # a killed retirement
                continue
            for what, value in figures.items():
                change = after[name][what] - value
                bounds = {"tokens": (-MOST_TOKENS, 0), "retries": (-1, 1)}.get(what, (0, 1))
                assert bounds[0] <= change <= bounds[1], f"{name}: {what} changed by {change}"

    def check_causes(self, eng: engine.Engine) -> None:
        """Whatever the dead one had counted, no effect of it is without its cause."""
        for one in eng.snapshot().policies:
            ended = one.success + one.failure + one.ignored
            assert one.latency.count <= one.success + one.failure, f"{one.name}: {one}"
            assert ended <= one.admitted, f"{one.name}: {one}"
            assert one.latency.complete, f"{one.name}: {one}"

    def check_flag(self, eng: engine.Engine) -> None:
        """A reason stands beside its own flip or beside none; the next flip works."""
        reasons = {"configured": {""}, "on": {"", cases.AGAIN}, "off": {"", cases.WHY}}
        assert (flag := flag_of(eng)).reason in reasons[flag.state], flag
        eng.policy(cases.FLAG).turn_on(1, cases.AGAIN)
        assert (flag_of(eng).state, flag_of(eng).reason) == ("on", cases.AGAIN)

    def check_health(self, eng: engine.Engine) -> None:
        """Results are taken in again, and a message is the status's own or none."""
        for name, check in eng.checks().items():
            assert check.message in ("", "no answer")
            assert engine.HealthCheck(name, ok_after=1, engine=eng).report("healthy") == "healthy"
        assert eng.policy(cases.HUNG).try_acquire()

    def check_rules(self, eng: engine.Engine) -> None:
        for policy in eng.snapshot().policies:
            handle = eng.policy(policy.name)
            if policy.breaker:
                self.check_circuit(handle, lambda name=policy.name: state_of(eng, name))
            if policy.bulkhead:
                self.check_pool(eng, policy.name)
            if policy.shedder:
                self.check_load(eng, policy.name)

    def check_circuit(self, handle: engine.Policy, state: Callable[[], str]) -> None:
        for _ in range(20):
            permit = handle.try_acquire()
            if permit:
                permit.success()
            if state() == "closed":
                return
            self.clock.advance(cases.PROBE_S + cases.OPEN_FOR_S)
        raise AssertionError(f"{handle.name}: stuck {state()}")

    def check_pool(self, eng: engine.Engine, name: str) -> None:
        of_witness = name in (cases.ALL, cases.POOL)
        limit, in_use = pool_of(eng, name)
        assert in_use == of_witness, f"{name}: {in_use} permits held, {of_witness} by the witness"
        handle = eng.policy(name)
        taken = []
        while permit := handle.try_acquire():
            taken.append(permit)
            self.clock.advance(1.0)
        assert len(taken) == max(limit - in_use, 0), f"{name}: {len(taken)} of {limit} to be had"
        assert all(permit.success() for permit in taken)
        assert pool_of(eng, name)[1] == of_witness

    def check_load(self, eng: engine.Engine, name: str) -> None:
        assert load_of(eng, name).in_use == 0, f"{name}: places are taken"
        handle = eng.policy(name)
        self.clock.advance(1.0)
        taken = []
        while permit := handle.try_acquire(priority=engine.CRITICAL):
            taken.append(permit)
        limit = load_of(eng, name).limit
        assert len(taken) == limit, f"{name}: {len(taken)} of {limit} places to be had"
        assert all(permit.ignore() for permit in taken)
        assert load_of(eng, name).in_use == 0

    # ---- the sweep ----

    def run(self, case: cases.Case) -> str:
        """Kill one operation everywhere; what was done, in words."""
        kills, checks, seen, point = self.kills, self.checks, b"", 1
        self.memory[:] = self.base
        while not self.survives(case, point):
            before = self.heard()
            self.kills += 1
            point += 1
            if seen != (seen := self.image()):
                self.look(f"{case.name} killed at {point - 1}", before)
                self.sweep_repair(f"{case.name} killed at {point - 1}", seen, before)
            self.memory[:] = self.base
        self.complain(f"{case.name}, not killed")
        assert point > 1, "an operation without an atomic step proves nothing"
        return f"{point - 1} points, {self.kills - kills} kills, {self.checks - checks} checks"

    def survives(self, case: cases.Case, point: int) -> bool:
        """Whether the operation ended before its point of that number."""
        self.keep_row(fcntl.LOCK_EX)
        try:
            return self.fork(partial(self.operate, case, point))
        finally:
            self.keep_row(fcntl.LOCK_UN)

    def look(self, where: str, before: dict[str, Any]) -> None:
        self.fork(lambda: self.check(before))
        self.complain(where)
        self.checks += 1

    def sweep_repair(self, where: str, image: bytes, before: dict[str, Any]) -> None:
        """Kill the repairer at each of its writes, and have a third process check."""
        seen, point = image, 0
        while True:
            point += 1
            self.memory[:] = image
            if self.fork(partial(self.repair, before["clock"], point)):
                self.complain(f"{where}, repairer")
                return
            self.kills += 1
            if seen != (seen := self.image()):
                self.look(f"{where}, repairer killed at {point}", before)


def state_of(eng: engine.Engine, name: str) -> str:
    return next(one.breaker.state for one in eng.snapshot().policies if one.name == name)


def flag_of(eng: engine.Engine) -> engine.runtime.FeatureSnapshot:
    return next(one.feature for one in eng.snapshot().policies if one.name == cases.FLAG)


def pool_of(eng: engine.Engine, name: str) -> tuple[int, int]:
    pool = next(one.bulkhead for one in eng.snapshot().policies if one.name == name)
    return pool.limit, pool.in_use


def load_of(eng: engine.Engine, name: str) -> Any:
    return next(one.shedder for one in eng.snapshot().policies if one.name == name)


def main() -> int:
    """Sweep the cases named on the command line, or all; print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="loads too, not only writes")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        sweep = Sweep(Path(folder), full=options.full)
        for case in cases.CASES:
            if not options.names or case.name in options.names:
                print(f"{case.name}: {sweep.run(case)}", flush=True)
    print(
        f"{sweep.kills} kills, {sweep.checks} arenas checked, {len(sweep.complaints)} complaints"
        f" in {time.monotonic() - begun:.0f} s"
    )
    return bool(sweep.complaints)


if __name__ == "__main__":
    sys.exit(main())
