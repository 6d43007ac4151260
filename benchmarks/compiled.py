"""Builds the reference kernels where they are older than their source, and loads them."""

import ast
import sys
import sysconfig
from contextlib import chdir
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench"
SOURCE = ROOT / "benchmarks" / "floor.pyx"
SETUP = ROOT / "setup.py"
DEPENDS = (SOURCE, SETUP, ROOT / "engine/core/atomic.h", ROOT / "engine/core/atomic.pxd")


def load() -> ModuleType:
    """The module of reference kernels."""
    if _is_stale(FOLDER / f"floor{sysconfig.get_config_var('EXT_SUFFIX')}"):
        _build()
    sys.path.insert(0, str(FOLDER))
    return import_module("floor")


def _is_stale(built: Path) -> bool:
    if not built.exists():
        return True
    return built.stat().st_mtime < max(path.stat().st_mtime for path in DEPENDS)


def _directives() -> dict[str, Any]:
    """The core's own compiler directives: setup.py's constant, read without running setup."""
    for statement in ast.parse(SETUP.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "DIRECTIVES":
            found: dict[str, Any] = ast.literal_eval(statement.value)
            return found
    raise LookupError(f"{SETUP} names no DIRECTIVES")


def _build() -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extension = Extension(
        "floor",
        ["benchmarks/floor.pyx"],
        include_dirs=["engine/core"],
        extra_compile_args=["-std=gnu11", "-O3", "-fno-strict-aliasing"],
    )
    with chdir(ROOT):
        modules = cythonize(
            [extension],
            build_dir=str(FOLDER / "objects"),
            compiler_directives=_directives(),
            force=True,
            quiet=True,
        )
        command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib = str(FOLDER)
        command.build_temp = str(FOLDER / "objects")
        command.ensure_finalized()
        command.run()
