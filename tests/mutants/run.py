"""Plant each bug of this folder in a copy of the tree, and see whether the tests catch it.

`python tests/mutants/run.py [NAME...]` prints a table; its exit status is 1 where a bug was missed.
A patch starts with a line that says what it breaks and one that names the tests that should see it
first; where those do not, the rest of the suite is asked. Only what a patch touches is compiled
anew, and a bug is caught by the first test that fails with it and passes without it.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PARTS = ("engine", "server", "proto", "tests", "tools", "build", "pyproject.toml", "setup.py")
SUITES = ("tests/unit", "tests/property", "tests/processes", "tests/crash", "tests/fuzz")
SEEN_BY = "Seen by: "
PATIENCE_S = 900


def run(command: list[str], tree: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python command in a tree whose packages come first."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "ADMITTANCE_CFLAGS": "-O1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def build(tree: Path) -> None:
    """Compile the core in place. Raises RuntimeError where that fails."""
    done = run(["setup.py", "-q", "build_ext", "--inplace"], tree)
    if done.returncode:
        raise RuntimeError(f"the build failed:\n{done.stdout}{done.stderr}")


def first_failure(tree: Path, tests: list[str]) -> str | None:
    """Run tests until one fails, and return its name."""
    done = run(["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests], tree)
    if done.returncode == 0:
        return None
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return failed[0] if failed else f"status {done.returncode} of {' '.join(tests)}"


def copy(source: Path, target: Path) -> Path:
    """Make `target` what `source` is, times and built modules included; what is the same stays."""
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, copy_function=_copy, dirs_exist_ok=True)
        elif (source / part).exists():
            _copy(source / part, target / part)
    return target


def _copy(source: str | Path, target: str | Path) -> None:
    if not os.path.exists(target) or os.stat(source).st_mtime_ns != os.stat(target).st_mtime_ns:
        shutil.copy2(source, target)


class Mutants:
    """A clean tree, and one tree for each job, in which bugs are planted one after another."""

    def __init__(self, folder: Path, jobs: int) -> None:
        folder.joinpath("clean").mkdir()
        self.clean = copy(ROOT, folder / "clean")
        build(self.clean)
        self.innocent: dict[str, bool] = {}
        self.trees: queue.Queue[Path] = queue.Queue()
        for job in range(jobs):
            folder.joinpath(str(job)).mkdir()
            self.trees.put(folder / str(job))

    def plant(self, patch: Path) -> tuple[str | None, float]:
        """Return the first test that caught the bug, or None, and the seconds it took."""
        tree = self.trees.get()
        begun = time.monotonic()
        try:
            copy(self.clean, tree)
            subprocess.run(["git", "apply", str(patch)], cwd=tree, check=True)
            build(tree)
            return self.caught_by(tree, patch), time.monotonic() - begun
        finally:
            self.trees.put(tree)

    def caught_by(self, tree: Path, patch: Path) -> str | None:
        named = patch.read_text().splitlines()[1].removeprefix(SEEN_BY).split()
        for tests in (named, [suite for suite in SUITES if suite not in named]):
            test = first_failure(tree, tests)
            if test is not None:
                return test if self.passes_without(test) else f"{test}, WHICH FAILS WITHOUT IT TOO"
        return None

    def passes_without(self, test: str) -> bool:
        """Whether a test passes where no bug is planted."""
        if test not in self.innocent and not test.startswith("status"):
            self.innocent[test] = first_failure(self.clean, [test]) is None
        return self.innocent.get(test, True)


def main() -> int:
    """Plant the bugs named on the command line, or all, and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    patches = sorted(HERE.glob("*.patch"))
    chosen = [patch for patch in patches if not options.names or patch.stem in options.names]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        mutants = Mutants(Path(folder), options.jobs)
        with ThreadPoolExecutor(options.jobs) as jobs:
            for patch, (caught, took_s) in zip(
                chosen, jobs.map(mutants.plant, chosen), strict=True
            ):
                missed += caught is None or caught.endswith("TOO")
                verdict = f"caught by {caught}" if caught else "MISSED"
                print(f"{patch.stem:36} {took_s:4.0f} s  {verdict}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
