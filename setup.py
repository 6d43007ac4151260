"""The extension list and the C flags; everything else is in pyproject.toml."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOM = "engine.core"
MODULES = [
    "clock",
    "arena",
    "window",
    "buckets",
    "journal",
    "keys",
    "fits",
    "directory",
    "binding",
    "repair",
    "meter",
    "view",
    "counter",
    "limiter",
    "breaker",
    "bulkhead",
    "admit",
    "remote",
    "policy",
    "guard",
    "wire",
]
CFLAGS = [
    "-std=gnu11",
    "-O3",
    "-fno-strict-aliasing",
    "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=3",
    "-Wall",
    "-Wno-unused-function",
    *os.environ.get("ADMITTANCE_CFLAGS", "").split(),  # tools/variant.py; the last word counts
]
LDFLAGS = ["-Wl,-z,relro,-z,now"] if os.uname().sysname == "Linux" else []
DIRECTIVES = {
    "language_level": "3str",
    "binding": False,
    "always_allow_keywords": False,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "auto_pickle": False,
    "embedsignature": True,
}

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"{ROOM}.{name}",
                [f"engine/core/{name}.pyx"],
                include_dirs=["engine/core"],
                depends=["engine/core/atomic.h", "engine/core/clock.h", "engine/core/layout.h"],
                extra_compile_args=CFLAGS,
                extra_link_args=LDFLAGS,
            )
            for name in MODULES
        ],
        compiler_directives=DIRECTIVES,
        build_dir="build/cython",
    )
)
