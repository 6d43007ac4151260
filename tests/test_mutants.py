"""Planted bugs keep up with the code: whoever moves a line moves its mutant."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATCHES = sorted((ROOT / "tests/mutants").glob("*.patch"))


def test_there_are_enough_of_them() -> None:
    assert len(PATCHES) >= 30


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_mutant_applies_and_names_the_tests_that_see_it(patch: Path) -> None:
    breaks, seen_by, *_ = patch.read_text().splitlines()
    assert breaks.endswith(".")
    assert seen_by.startswith("Seen by: ")
    for test in seen_by.removeprefix("Seen by: ").split():
        assert (ROOT / test.partition("::")[0]).exists(), test
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    done = subprocess.run(
        [git, "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
