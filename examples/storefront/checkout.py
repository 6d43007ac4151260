"""A checkout worker: charges cards as fast as its callers can, each call through the policy.

    checkout.py NAME LOG PAYMENT_PORT [ARENA]

Without an arena it keeps a circuit of its own, which is what the demo's --separate shows.
"""

from __future__ import annotations

import sys
import threading
import time
from http.client import HTTPConnection, HTTPException

import msgspec
from plan import ADMITTED, POLICIES, POLICY, Call, Log, Script, await_script

import engine

TIMEOUT_S = 5


class Caller(threading.Thread):
    """One of the worker's threads, with a connection of its own."""

    def __init__(self, worker: Worker, number: int, script: Script) -> None:
        super().__init__()
        self._worker = worker
        self._number = number
        self._script = script
        self._connection = HTTPConnection("127.0.0.1", worker.port, timeout=TIMEOUT_S)

    def run(self) -> None:
        due = self._script.start + self._script.period * self._number / self._script.callers
        count = 0
        while due < self._script.end:
            time.sleep(max(0.0, due - time.monotonic()))
            count += 1
            self._worker.log.write(self._call(f"{self._worker.name}/{self._number}.{count}"))
            due = max(due + self._script.period, time.monotonic())

    def _call(self, name: str) -> Call:
        asked = time.monotonic()
        verdict = self._worker.pay.try_acquire()
        answered = time.monotonic()
        call = Call(
            id=name,
            worker=self._worker.name,
            asked=asked,
            answered=answered,
            verdict=ADMITTED if verdict else verdict.reason,
        )
        return self._charge(call, verdict) if verdict else call

    def _charge(self, call: Call, permit: engine.Permit) -> Call:
        ok = self._post(call)
        reported = time.monotonic()
        counted = permit.success() if ok else permit.failure()
        return msgspec.structs.replace(
            call, ok=ok, counted=counted, reported=reported, finished=time.monotonic()
        )

    def _post(self, call: Call) -> bool:
        headers = {"X-Worker": call.worker, "X-Call": call.id}
        try:
            self._connection.request("POST", "/charge", body=b"", headers=headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            return False
        return answer.status == 200


class Worker:
    """The process: a policy on the host's arena, and where to charge."""

    def __init__(self, name: str, log: str, port: str, arena: str | None = None) -> None:
        self.name = name
        self.log = Log(log)
        self.port = int(port)
        self.pay = engine.Engine(arena, POLICIES).policy(POLICY)

    def run(self, script: Script) -> None:
        """Let all callers call until the script ends."""
        callers = [Caller(self, number, script) for number in range(script.callers)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()


def main() -> None:
    worker = Worker(*sys.argv[1:])
    worker.run(await_script())


if __name__ == "__main__":
    main()
