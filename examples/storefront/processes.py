"""The demo's child processes: each is started here, watched, and ended by its id."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import msgspec
from plan import POLICIES, Script

HERE = Path(__file__).resolve().parent
NODE = HERE / "node"
CACHE = HERE.parent.parent / ".cache" / "npm"
NODE_MIN = 18
INSTALL_S = 180
GRACE_S = 3


class DemoError(Exception):
    """Something that the demo needs did not come up, or ended too early."""


class NodeMissingError(DemoError):
    """Node.js or npm is not on this machine."""


class Processes:
    """Children that do not outlive the `with` block."""

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[str]] = {}

    def python(self, name: str, *arguments: object) -> str:
        """Start a script of the demo and return its first line, which says that it is ready."""
        script, *rest = arguments
        return self.start(name, sys.executable, HERE / str(script), *rest)

    def start(self, name: str, *command: object, ready: str = "") -> str:
        """Start a child; return its first line, or the rest of the one that begins with `ready`.

        Raises DemoError where it ends before it says so.
        """
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            text=True,
            process_group=0,
        )
        self._children[name] = child
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip().startswith(ready):
                return line.strip().removeprefix(ready).strip()
        raise DemoError(f"{name} ended with status {child.wait()} before it was ready")

    def tell(self, script: Script) -> None:
        """Hand the script to every child that takes one; the others do not read it.

        Raises DemoError where a child failed.
        """
        self.check()
        for child in self._children.values():
            assert child.stdin is not None
            child.stdin.write(msgspec.json.encode(script).decode() + "\n")
            child.stdin.flush()

    def check(self) -> None:
        """Raise DemoError where a child failed."""
        for name, child in self._children.items():
            if child.poll():
                raise DemoError(f"{name} ended with status {child.returncode}")

    def wait(self, name: str) -> None:
        """Wait until a child has done its work; raises DemoError where it failed or hangs."""
        try:
            self._children[name].wait(GRACE_S)
        except subprocess.TimeoutExpired:
            raise DemoError(f"{name} did not end") from None
        self.check()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            _end(child)


def serve(processes: Processes, arena: Path) -> str:
    """Start the admission service on the arena and return its gRPC address."""
    command = [sys.executable, "-m", "server", "serve", "--policies", POLICIES, "--arena", arena]
    addresses = ["--listen", "127.0.0.1:0", "--web", "127.0.0.1:0"]
    return processes.start("server", *command, *addresses, ready="gRPC ")


def node() -> str:
    """Return the path of Node.js, its packages installed; raises NodeMissingError without one."""
    program = shutil.which("node")
    if program is None:
        raise NodeMissingError(f"Node.js >= {NODE_MIN} is not installed (apt install nodejs npm)")
    found = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)", found.stdout)
    if version is None or int(version[1]) < NODE_MIN:
        raise NodeMissingError(f"Node.js {found.stdout.strip()} is older than {NODE_MIN}")
    if not (NODE / "node_modules" / ".package-lock.json").exists():
        _install()
    return program


def _install() -> None:
    program = shutil.which("npm")
    if program is None:
        raise NodeMissingError("npm is not installed (apt install npm)")
    print("npm ci: @grpc/grpc-js for the Node.js worker", flush=True)
    command = [program, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(CACHE)]
    try:
        done = subprocess.run(
            command, cwd=NODE, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"npm ci took more than {INSTALL_S} s") from None
    if done.returncode:
        raise DemoError(f"npm ci failed: {' '.join(done.stderr.split())[-200:]}")


def _environment() -> dict[str, str]:
    ours = ("ADMITTANCE_", "ENGINE_")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)}


def _end(child: subprocess.Popen[str]) -> None:
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            pipe.close()
