"""A real server process on free ports, and a real grpcio channel to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

import server
from server.pb.admittance.v1 import admission_pb2_grpc

ROOT = Path(server.__file__).parent.parent
LABELS = ("service", "operation", "decision", "reason", "outcome", "le")
POLICIES = """
[policies."demo/hello".rate_limit]
rate = "1/day"
burst = 5
[policies."demo/pool".bulkhead]
limit = 2
[policies."demo/circuit".breaker]
window = 10
min_calls = 10
open_for = "1h"
jitter = 0
[policies."demo/all".rate_limit]
rate = "1/day"
burst = 100
[policies."demo/all".bulkhead]
limit = 8
[policies."demo/all".breaker]
window = 100
"""


class Server:
    """One `serve` process; `stop` ends it and nothing else."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=-1, text=True
        )
        self.lines = self._announced()
        self.listen = self.lines["gRPC"]
        self.site = self.lines["metrics"].removesuffix("/metrics")
        self.channel = grpc.insecure_channel(self.listen)
        self.stub = admission_pb2_grpc.AdmissionStub(self.channel)

    def _announced(self) -> dict[str, str]:
        lines = {}
        for line in self._process.stdout:
            label, _, text = line.strip().partition(" ")
            lines[label] = text.strip()
            if label == "try":
                return lines
        raise AssertionError(f"the server ended with status {self._process.wait()}")

    def send(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status."""
        return self._process.wait(timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process and return its exit status."""
        self.channel.close()
        if self._process.poll() is None:
            self.send(number)
        self._process.stdout.close()
        return self.wait()

    def get(self, path: str, accept: str = "*/*") -> tuple[int, str, str]:
        """Return status, content type and text of a page."""
        request = urllib.request.Request(self.site + path, headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers["content-type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["content-type"], error.read().decode()

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Return every sample of /metrics by its name and label values, in the order of LABELS."""
        return {
            (sample.name, *(sample.labels[label] for label in LABELS if label in sample.labels)): (
                sample.value
            )
            for family in text_string_to_metric_families(self.get("/metrics")[2])
            for sample in family.samples
        }


def environment() -> dict[str, str]:
    """Return the environment of a child that must find the packages and no settings of ours."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("ADMITTANCE_")}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    path = tmp_path / "policies.toml"
    path.write_text(POLICIES)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command of `admittance` to its end."""

    def run_command(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "server", *map(str, arguments)],
            cwd=tmp_path,
            env=environment() | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run_command


@pytest.fixture
def start(tmp_path: Path, policies: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on one arena; whatever still runs at the end of the test is ended."""
    started: list[Server] = []

    def start_server(*options: object) -> Server:
        command = [sys.executable, "-m", "server", "serve", "--policies", policies]
        command += ["--arena", tmp_path / "arena", "--web", "127.0.0.1:0", *options]
        if "--listen" not in options:
            command += ["--listen", "127.0.0.1:0"]
        started.append(Server([str(word) for word in command], tmp_path))
        return started[-1]

    yield start_server
    for one in started:
        one.stop(signal.SIGKILL)


@pytest.fixture
def served(start: Callable[..., Server]) -> Server:
    return start()
