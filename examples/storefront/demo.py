"""The storefront: five workers in two languages, one circuit, a payment service that fails.

    python examples/storefront/demo.py [--separate]

Exit status 0 where every claim of the report holds, 1 where one failed. See README.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from claims import Claim, Evidence, judge, transitions
from display import Board
from plan import POLICIES, POLICY, Call, Request, Script, Tail
from processes import NODE, DemoError, NodeMissingError, Processes, node, serve
from rich.console import Console
from watch import Watch

from engine import Engine, config
from engine.rules import Breaker

PYTHON_WORKERS = 4
LIMIT_S = 60
LEAD_S = 0.5  # from telling the children to the start of the script
REFRESH_S = 0.1


class Demo:
    """One run on an arena in a folder of its own."""

    def __init__(self, folder: Path, *, separate: bool) -> None:
        self._folder = folder
        self._arena = folder / "arena"
        self._separate = separate
        self._doors: dict[str, str] = {}
        self._calls: list[Call] = []
        self._requests = Tail(folder / "payment.log", Request)
        self._tails: list[Tail[Call]] = []

    def run(self, processes: Processes, node_program: str | None) -> Evidence:
        """Start everything, look on until the script has ended, and return what was recorded."""
        with Engine(self._arena, POLICIES) as engine:
            self._start(processes, node_program)
            script = Script.beginning(time.monotonic() + LEAD_S)
            processes.tell(script)
            with Watch(engine) as watch:
                self._look_on(processes, script, watch)
            return self._evidence(script, watch)

    def _start(self, processes: Processes, node_program: str | None) -> None:
        port = processes.python("payment", "payment.py", self._folder / "payment.log")
        target = serve(processes, self._arena)
        own = [] if self._separate else [self._arena]
        for number in range(1, PYTHON_WORKERS + 1):
            name = f"checkout-{number}"
            processes.python(name, "checkout.py", name, self._log(name, "Python"), port, *own)
        if node_program:
            log = self._log("checkout-node", "gRPC")
            command = [node_program, NODE / "worker.js", "checkout-node", log, port, target]
            processes.start("checkout-node", *command)

    def _log(self, name: str, door: str) -> Path:
        self._doors[name] = door
        path = self._folder / f"{name}.log"
        self._tails.append(Tail(path, Call))
        return path

    def _look_on(self, processes: Processes, script: Script, watch: Watch) -> None:
        with Board(Console(), script, self._doors) as board:
            while (now := time.monotonic()) < script.end:
                self._read(board)
                board.show(now, watch.breaker())
                processes.check()
                time.sleep(REFRESH_S)
            for name in self._doors:
                processes.wait(name)
            self._read(board)
            board.show(script.end, watch.breaker())

    def _read(self, board: Board) -> None:
        for call in [call for tail in self._tails for call in tail.read()]:
            self._calls.append(call)
            board.add(call)

    def _evidence(self, script: Script, watch: Watch) -> Evidence:
        rules = config.load(POLICIES).policies[POLICY].rules
        return Evidence(
            script=script,
            rule=next(rule for rule in rules if isinstance(rule, Breaker)),
            workers=list(self._doors),
            calls=self._calls,
            requests=self._requests.read(),
            periods=watch.periods,
            final=watch.policy(),
        )


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(description="Five workers, one circuit; about 25 seconds.")
    parser.add_argument("--separate", action="store_true", help="a circuit for each worker instead")
    separate = parser.parse_args().separate
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        node_program = _node()
        if separate:
            print("Each worker keeps a circuit of its own; shown is that of the Node.js worker.")
        signal.alarm(LIMIT_S)
        with tempfile.TemporaryDirectory(prefix="storefront-") as folder, Processes() as processes:
            evidence = Demo(Path(folder), separate=separate).run(processes, node_program)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _report(evidence)


def _node() -> str | None:
    try:
        return node()
    except NodeMissingError as error:
        print(f"{error}: runs without the Node.js worker", flush=True)
        return None


def _report(evidence: Evidence) -> int:
    print("\nThe circuit:")
    for line in transitions(evidence):
        print(line)
    claims = judge(evidence)
    print("\nThe claims:")
    for claim in claims:
        _print_claim(claim)
    return 0 if all(claim.kept for claim in claims) else 1


def _print_claim(claim: Claim) -> None:
    print(f"{'ok' if claim.kept else 'FAILED':<7} {claim.text}\n        {claim.figure}")


def _out_of_time(_number: int, _frame: FrameType | None) -> NoReturn:
    raise DemoError(f"not done after {LIMIT_S} s")


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
