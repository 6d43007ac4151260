"""Builds the reference kernels where they are older than their source, and loads them."""

import sys
import sysconfig
from contextlib import chdir
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench"
SOURCE = ROOT / "benchmarks" / "floor.pyx"
DEPENDS = (SOURCE, ROOT / "engine/core/atomic.h", ROOT / "engine/core/atomic.pxd")
DIRECTIVES = {
    "language_level": "3str",
    "binding": False,
    "always_allow_keywords": False,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "auto_pickle": False,
}


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
            compiler_directives=DIRECTIVES,
            force=True,
            quiet=True,
        )
        command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib = str(FOLDER)
        command.build_temp = str(FOLDER / "objects")
        command.ensure_finalized()
        command.run()
