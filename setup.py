"""The extension list and the C flags; everything else is in pyproject.toml."""

import os
import sysconfig

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOM = "engine.core"
MODULES = [
    "clock",
    "arena",
    "waiting",
    "window",
    "buckets",
    "adaptive",
    "journal",
    "remark",
    "keys",
    "fits",
    "directory",
    "binding",
    "repair",
    "histogram",
    "meter",
    "view",
    "counter",
    "limiter",
    "breaker",
    "bulkhead",
    "budget",
    "throttle",
    "feature",
    "health",
    "chaos",
    "shedder",
    "admit",
    "remote",
    "policy",
    "guard",
    "wire",
]
HEADERS = ["atomic", "clock", "futex", "interpreter", "layout"]
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
COMPILER = os.environ.get("CC") or sysconfig.get_config_var("CC")
if "gcc" in COMPILER and os.uname().machine == "x86_64":
    # A permit is zeroed when it is made; gcc's usual `rep stos` takes 8 ns for that, stores take 1.
    CFLAGS.append("-mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign")
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
                depends=[f"engine/core/{name}.h" for name in HEADERS],
                extra_compile_args=CFLAGS,
                extra_link_args=LDFLAGS,
            )
            for name in MODULES
        ],
        compiler_directives=DIRECTIVES,
        build_dir="build/cython",
    )
)
