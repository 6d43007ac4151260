"""mypy accepts the right uses of the public names and rejects the wrong ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine

ROOT = Path(engine.__file__).parent.parent
USES = Path(__file__).with_name("uses.py")
WRONG = {
    "a wrong argument of a decorated function": ('charge("1")', "arg-type"),
    "a missing argument of a decorated function": ("charge()", "call-arg"),
    "an unknown keyword of a decorated function": ("charge(1, coin=2)", "call-arg"),
    "a wrong argument of a decorated coroutine": ("charge_later(b'')", "arg-type"),
    "a wrong argument passed on": ('pay.call(charge, "1")', "arg-type"),
    "a wrong result": ("total: int = charge(1)", "assignment"),
    "a report on an unchecked verdict": ("pay.try_acquire().success()", "union-attr"),
    "a rule that is none": ('engine.Policy("a/b", 5)', "arg-type"),
    "a cost that is no number": ('pay.try_acquire("1")', "arg-type"),
    "an unknown parameter of a rule": ("rules.Bulkhead(1, queues=2)", "call-arg"),
    "a name that is not there": ("engine.Shredder()", "attr-defined"),
}


def mypy(file: Path, cache: Path) -> tuple[int, str]:
    """Check one file strictly; return the exit status and what was said."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file="]
    done = subprocess.run(
        [*command, "--cache-dir", str(cache), str(file)],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of all wrong uses at once, below the right ones."""
    folder = tmp_path_factory.mktemp("typing")
    lines = [wrong for wrong, _ in WRONG.values()]
    spoilt = folder / "wrong.py"
    spoilt.write_text(USES.read_text() + "\n\n" + "\n".join(lines) + "\n")
    return mypy(spoilt, folder / "cache")[1]


def test_right_uses_are_accepted(tmp_path: Path) -> None:
    status, said = mypy(USES, tmp_path)
    assert status == 0, said


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_rejected(verdict: str, name: str) -> None:
    first = len(USES.read_text().splitlines()) + 3
    number = first + list(WRONG).index(name)
    said = [line for line in verdict.splitlines() if f"wrong.py:{number}:" in line]
    assert any(f"[{WRONG[name][1]}]" in line for line in said), f"{name}: {said or verdict}"
