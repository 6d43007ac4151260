"""Plant each bug of this folder in a copy of the tree, and see whether the tests catch it.

`python tests/mutants/run.py [NAME...]` prints a table; its exit status is 1 where a bug was missed.
A patch starts with one line that says what it breaks. Tests that fail without any bug are left out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PARTS = ("engine", "server", "proto", "tests", "pyproject.toml", "setup.py")
SUITES = ("tests/unit", "tests/property", "tests/processes")
PATIENCE_S = 900


def run(command: list[str], tree: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python command in a tree whose packages come first."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def build(tree: Path) -> None:
    """Compile the core in place; exits where that fails."""
    done = run(["setup.py", "-q", "build_ext", "--inplace"], tree)
    if done.returncode:
        sys.exit(f"the build failed:\n{done.stdout}{done.stderr}")


def failures(tree: Path, *options: str) -> list[str]:
    """Run the quick tests and return those that failed, in order."""
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *SUITES], tree)
    if done.returncode not in (0, 1):
        return [f"status {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"]
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)


def copy(source: Path, target: Path) -> Path:
    """Copy what the build and the tests need, times and built modules included."""
    target.mkdir()
    for part in (*PARTS, "build"):
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part)
        elif (source / part).exists():
            shutil.copy2(source / part, target / part)
    return target


def plant(patch: Path, clean: Path, folder: Path, known: list[str]) -> tuple[str | None, float]:
    """Return the first test that caught the bug, or None, and the seconds it took."""
    begun = time.monotonic()
    tree = copy(clean, folder / patch.stem)
    subprocess.run(["git", "apply", str(patch)], cwd=tree, check=True)
    build(tree)
    deselected = [f"--deselect={test}" for test in known]
    caught = failures(tree, "-x", *deselected)
    shutil.rmtree(tree)
    return (caught[0] if caught else None), time.monotonic() - begun


def main() -> int:
    """Plant the bugs named on the command line, or all, and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    names = parser.parse_args().names
    patches = sorted(HERE.glob("*.patch"))
    chosen = [patch for patch in patches if not names or patch.stem in names]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folder = Path(temporary)
        clean = copy(ROOT, folder / "clean")
        build(clean)
        known = failures(clean)
        for test in known:
            print(f"fails without any bug, left out: {test}", flush=True)
        for patch in chosen:
            caught, took_s = plant(patch, clean, folder, known)
            missed += caught is None
            verdict = f"caught by {caught}" if caught else "MISSED"
            print(f"{patch.stem:32} {took_s:5.0f} s  {verdict}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
