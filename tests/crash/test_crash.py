"""Every operation, killed before and after every atomic step: sweep.py says what is promised."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).with_name("sweep.py")


@pytest.mark.timeout(7200)
def test_nothing_is_lost_when_a_process_is_killed_at_any_step(soak: bool) -> None:
    done = subprocess.run(
        [sys.executable, SWEEP, *(["--full"] if soak else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    kills, checks = map(int, re.findall(r"(\d+) kills, (\d+) arenas checked", done.stdout)[-1])
    assert kills > 1_000
    assert checks > 300
