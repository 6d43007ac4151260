"""The short form of `make sanitize`: nothing is reported; a missing runtime is said."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
SKIPPED = 77


@pytest.mark.timeout(900)
@pytest.mark.parametrize("sanitizer", ["asan", "tsan"])
def test_sanitizer_reports_nothing(sanitizer: str) -> None:
    done = subprocess.run(
        [sys.executable, RUN, "--short", sanitizer],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
