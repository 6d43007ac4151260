"""The core under the sanitizers of gcc: `run.py [asan|tsan...] [--short]`.

asan: tests of one process, with AddressSanitizer and UndefinedBehaviorSanitizer.
tsan: eight threads without the GIL on one mapping (driver.py), with ThreadSanitizer.

Builds lie under build/. The exit status is 1 where anything was reported, 77 where a sanitizer's
runtime is missing.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import variant  # noqa: E402  (found by the path above)

LONG = ("tests/unit", "tests/property")
SHORT = ("tests/unit/test_wire.py", "tests/unit/test_breaker.py", "tests/unit/test_bulkhead.py")
SKIPPED = 77
DRIVER_SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup
import os
flags = os.environ["ADMITTANCE_CFLAGS"].split()
folder = ["engine/core"]
module = Extension("hammer", ["hammer.pyx"], include_dirs=folder, extra_compile_args=flags)
setup(ext_modules=cythonize([module]), script_args=["-q", "build_ext", "--inplace"])
"""


def runtime(name: str) -> str:
    """The path of a sanitizer's runtime, or nothing where the compiler brings none."""
    compiler = sysconfig.get_config_var("CC").split()[0]
    asked = [compiler, f"-print-file-name=lib{name}.so"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return found if os.path.isabs(found) else ""


def run(command: list[str], folder: Path, preload: list[str], **options: str) -> int:
    """Run the interpreter itself (a shim would lose the preload) with a variant's core."""
    paths = {"LD_PRELOAD": ":".join(preload), "PYTHONPATH": f"{folder}:{ROOT}"}
    python = os.path.realpath(sys.executable) if sys.prefix == sys.base_prefix else sys.executable
    return subprocess.run(
        [python, *command], cwd=folder, env=os.environ | paths | options, check=False
    ).returncode


def asan(*, short: bool) -> int:
    folder = variant.build("asan")
    suites = [str(ROOT / suite) for suite in (SHORT if short else LONG)]
    config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    return run(
        ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *config, *suites],
        folder,
        [runtime("asan"), runtime("ubsan")],
        ASAN_OPTIONS="detect_leaks=0:quarantine_size_mb=8",
        UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1",
        PYTHONMALLOC="malloc",
    )


def tsan(*, short: bool) -> int:
    folder = variant.build("tsan")
    (folder / "hammer.pyx").write_bytes((HERE / "hammer.pyx").read_bytes())
    variant.compile_in(folder, ["-c", DRIVER_SETUP], "tsan")
    return run(
        [str(HERE / "driver.py"), "8000" if short else "400000"],
        folder,
        [runtime("tsan")],
        TSAN_OPTIONS="halt_on_error=0:exitcode=66:report_signal_unsafe=0",
    )


def main() -> int:
    """Run what was named, or both; say what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a part of it, for `make test`")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name in options.names or ("asan", "tsan"):
        begun = time.monotonic()
        if not runtime(name):
            print(f"{name}: its runtime is missing; apt-get install gcc brings it")
            return SKIPPED
        status = {"asan": asan, "tsan": tsan}[name](short=options.short)
        print(f"{name}: status {status} after {time.monotonic() - begun:.0f} s", flush=True)
        if status:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
