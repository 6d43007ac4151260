"""Who may import whom."""

import ast
import re
import sys
from pathlib import Path

import pytest

import engine

ROOT = Path(engine.__file__).parent.parent
CORE = ROOT / "engine" / "core"
ORDER = [
    {"atomic", "protobuf", "siphash", "share", "trial", "whole"},
    {"layout"},
    {"permit", "cells", "token", "clock", "arena", "window", "buckets", "bucket", "keys"},
    {"adaptive"},
    {"journal", "fits", "histogram", "remark", "waiting"},
    {"directory"},
    {"binding"},
    {"repair", "meter"},
    {"view"},
    {
        "counter",
        "limiter",
        "breaker",
        "bulkhead",
        "shedder",
        "budget",
        "throttle",
        "feature",
        "health",
        "chaos",
    },
    {"admit"},
    {"remote"},
    {"wire", "policy"},
    {"guard"},
]
PATTERNS = ORDER[9]
MODULES = sorted({path.stem for path in CORE.glob("*.p[yx][xd]")} - {"__init__"})
CIMPORT = re.compile(r"^\s*from\s+(\S+)\s+(?:cimport|import)\b|^\s*(?:cimport|import)\s+(.+)", re.M)
ORDER_NAMES = re.compile(r"memory_order|__ATOMIC_|atomic_\w*_explicit|__sync_|stdatomic")


def level(module: str) -> int:
    return next(place for place, names in enumerate(ORDER) if module in names)


def imports_of_core(module: str) -> set[str]:
    """Every module that a compiled module names in an import or cimport."""
    found = set()
    for path in (CORE / f"{module}.pyx", CORE / f"{module}.pxd"):
        if path.exists():
            for name, names in CIMPORT.findall(path.read_text()):
                found |= {name} if name else {part.split()[0] for part in names.split(",")}
    return found


def imports_of_python(path: Path) -> set[str]:
    """Every module, and every name in a module, that a Python file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide who imports whom"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def python_files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    return [path for path in found if "pb" not in path.relative_to(ROOT).parts]


def test_every_module_has_its_place() -> None:
    placed = set().union(*ORDER)
    assert set(MODULES) == placed, "a module of the core has no place in the order, or is gone"


@pytest.mark.parametrize("module", MODULES)
def test_core_imports_only_what_stands_below(module: str) -> None:
    for name in imports_of_core(module):
        if name.startswith("engine"):
            assert name.startswith("engine.core."), f"{module} imports {name}"
            other = name.removeprefix("engine.core.")
            beside = other in ORDER[level(module)] and module not in PATTERNS
            allowed = level(other) < level(module) or beside or other == module
            assert allowed, f"{module} imports {other}"
        else:
            assert name.split(".")[0] not in {"server", "grpc", "msgspec", "tomllib"}


def test_core_has_no_ring() -> None:
    """Modules of one level may meet, but not in a ring."""
    above: dict[str, set[str]] = {}
    for module in MODULES:
        names = (name.removeprefix("engine.core.") for name in imports_of_core(module))
        above[module] = {name for name in names if name in MODULES and name != module}
    while above:
        free = [module for module, others in above.items() if not others & above.keys()]
        assert free, f"a ring: {above}"
        for module in free:
            del above[module]


def test_patterns_never_meet() -> None:
    for module in sorted(PATTERNS):
        others = {name.removeprefix("engine.core.") for name in imports_of_core(module)}
        assert not others & (PATTERNS - {module})


def test_headers_include_only_c_and_one_another_downwards() -> None:
    includes = {
        path.name: set(re.findall(r'#include\s+[<"]([^>"]+)[>"]', path.read_text()))
        for path in CORE.glob("*.h")
    }
    c_headers = {"stdatomic.h", "stdbool.h", "stdint.h", "stddef.h"}
    assert includes["atomic.h"] <= c_headers
    assert includes["layout.h"] <= c_headers - {"stdatomic.h"} | {"atomic.h"}


def test_only_atomic_h_names_a_memory_order() -> None:
    for path in sorted(CORE.iterdir()):
        if path.suffix in {".pyx", ".pxd", ".h", ".py", ".pyi"} and path.name != "atomic.h":
            assert not ORDER_NAMES.search(path.read_text()), f"{path.name} orders memory itself"


@pytest.mark.parametrize("path", python_files("engine"), ids=lambda path: path.name)
def test_engine_knows_no_server_and_no_grpc(path: Path) -> None:
    for name in imports_of_python(path):
        assert name.split(".")[0] not in {"server", "grpc", "google"}, f"{path.name}: {name}"


def test_engine_needs_msgspec_alone() -> None:
    """What else it imports is of the standard library, or an extra that only its module needs."""
    extras = {"metrics.py": {"prometheus_client"}}
    for path in python_files("engine"):
        roots = {name.split(".")[0] for name in imports_of_python(path)}
        foreign = roots - set(sys.stdlib_module_names) - {"engine", "msgspec", "typing_extensions"}
        assert foreign <= extras.get(path.name, set()), f"{path.name} imports {foreign}"


@pytest.mark.parametrize("path", python_files("server"), ids=lambda path: path.name)
def test_server_uses_public_names_only(path: Path) -> None:
    for name in imports_of_python(path):
        if name.split(".")[0] == "engine":
            private = any(part.startswith("_") for part in name.split("."))
            core = name.startswith("engine.core")
            judges = name == "engine.core" or name.startswith("engine.core.wire")
            typed = name.startswith("engine.core.arena")
            assert not private, f"{path.name} imports {name}"
            assert not core or judges or typed, f"{path.name} imports {name}"


def test_server_takes_from_the_arena_module_its_type_alone() -> None:
    for path in python_files("server"):
        taken = {name for name in imports_of_python(path) if name.startswith("engine.core.arena.")}
        assert taken <= {"engine.core.arena.Arena"}


def test_stubs_stand_beside_every_module_that_python_sees() -> None:
    compiled = {path.stem for path in CORE.glob("*.pyx")}
    inner = {"adaptive", "fits", "keys", "meter", "remote", "view", "waiting", "window", "buckets"}
    assert {path.stem for path in CORE.glob("*.pyi")} == compiled - inner
