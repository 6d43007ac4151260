"""The payment service: a small HTTP server that fails on a script, and writes down who came when.

    payment.py LOG

It prints its port, takes the script from standard input, and ends when that is closed.
"""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from plan import Log, Request, Script, await_script

WORK_S = 0.04  # how long a charge takes, whether it fails or not


class Payments(ThreadingHTTPServer):
    """The service; it is fine until it knows the script."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, log: Log) -> None:
        super().__init__(("127.0.0.1", 0), Charge)
        self.log = log
        self.script: Script | None = None

    def status(self, now: float) -> int:
        """Return the HTTP status for a request that arrives now."""
        return 500 if self.script and self.script.failing(now) else 200


class Charge(BaseHTTPRequestHandler):
    """One kept-alive connection of a worker."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Payments

    def do_POST(self) -> None:
        arrived = time.monotonic()
        status = self.server.status(arrived)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(WORK_S)
        self.server.log.write(
            Request(
                id=self.headers["X-Call"],
                worker=self.headers["X-Worker"],
                arrived=arrived,
                answered=time.monotonic(),
                status=status,
            )
        )
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the log is the record."""


def main() -> None:
    service = Payments(Log(sys.argv[1]))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    service.script = await_script(str(service.server_port))
    sys.stdin.read()


if __name__ == "__main__":
    main()
