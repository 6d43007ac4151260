"""Build the core with other C flags in a folder under build/: `python tools/variant.py NAME`.

The tree that people import is never touched. What did not change is not built again.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKED = "-O1 -g -fno-omit-frame-pointer -U_FORTIFY_SOURCE"
FLAGS = {
    "crash": "-O1 -DADM_CRASH_POINTS",
    "asan": f"{CHECKED} -fsanitize=address,undefined -fno-sanitize-recover=undefined",
    "tsan": f"{CHECKED} -fsanitize=thread",
}
KEPT = {".py", ".pyx", ".pxd", ".pyi", ".h", ".toml", ".typed", ".c"}


def _sources(root: Path) -> list[Path]:
    """What the build needs, and C that Cython has made already."""
    folders = [root / "engine", root / "build" / "cython"]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in KEPT]
    return [*files, root / "setup.py", root / "pyproject.toml", root / "engine" / "py.typed"]


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its times, where it is another; C only where the variant's own is older."""
    if target.exists():
        ahead = target.stat().st_mtime_ns - source.stat().st_mtime_ns
        if ahead == 0 or (ahead > 0 and source.suffix == ".c"):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def build(name: str, *, root: Path = ROOT) -> Path:
    """The folder of an up-to-date build. Raises CalledProcessError where the compiler complains."""
    folder = root / "build" / name
    for source in _sources(root):
        _copy(source, folder / source.relative_to(root))
    compile_in(folder, ["setup.py", "-q", "build_ext", "--inplace"], name)
    return folder


def compile_in(folder: Path, command: list[str], name: str) -> None:
    """Run a build command in a variant's folder with that variant's flags."""
    sanitizers = [flag for flag in FLAGS[name].split() if flag.startswith("-fsanitize=")]
    environment = {"ADMITTANCE_CFLAGS": FLAGS[name], "LDFLAGS": " ".join(sanitizers)}
    done = subprocess.run(  # noqa: S603  (our own setup.py)
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()


if __name__ == "__main__":
    print(build(sys.argv[1]))
