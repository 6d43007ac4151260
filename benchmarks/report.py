"""The table: every figure with its bar beside it, and the machine it was measured on."""

import os
import platform
import subprocess
import sysconfig
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from measure import KERNEL_MARGIN, Result

HEAD = ("operation", "figure", "bar", "", "x kernel", "ns", "middle half")
PEERS = (
    *("limits", "throttled-py", "pyrate-limiter", "aiolimiter", "pybreaker", "circuitbreaker"),
    *("purgatory", "interlock-cb", "tenacity", "stamina", "hyx", "anyio"),
)


def table(cells: list[tuple[str, ...]]) -> str:
    """A Markdown table, its head first, that reads well as plain text."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    return "\n".join([lines[0], _line(tuple("-" * width for width in widths), widths), *lines[1:]])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
    )


def _cells(result: Result) -> tuple[str, ...]:
    kernel, ours_ns = result.kernel_ratio, result.ours_ns
    verdict = "met" if result.is_met else "NOT met"
    return (
        result.operation,
        f"{_short(result.figure)} {result.bar.unit}",
        str(result.bar),
        "" if result.bar.limit is None else verdict,
        "" if kernel is None else f"{kernel:.2f}",
        "" if ours_ns is None else f"{ours_ns:.0f}",
        "" if result.quartiles is None else "-".join(map(_short, result.quartiles)),
    )


def _short(figure: float) -> str:
    return f"{figure:.2f}" if figure < 10 else f"{figure:.0f}"


def machine(*more: str) -> str:
    """A list of what the figures depend on: processor, kernel, Python, compiler, load, `more`."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    facts = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"{_cpu()}, clock source {_clock_source()}",
        f"{platform.system()} {platform.release()}, load averages at the end {load}",
        f"{_python()}, {_compiler()}",
        *more,
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def machine_in_short() -> str:
    """The same for the foot of a picture."""
    return f"{_cpu()}, {_python()}; shaded: the middle half of all rounds"


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = (line.partition(":") for line in lines)
    found = (value.strip() for key, _, value in fields if key.strip() == "model name")
    return f"{next(found, platform.machine())}, {len(os.sched_getaffinity(0))} cores"


def _clock_source() -> str:
    where = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return where.read_text().strip() if where.exists() else "unknown"


def _compiler() -> str:
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return shown.stdout.partition("\n")[0] or compiler


def document(results: list[Result], *notes: str) -> str:
    """RESULTS.md."""
    held = [result for result in results if result.bar.limit is not None]
    met = sum(result.is_met for result in held)
    floor_ns = next(result.theirs_ns for result in results if result.bar.unit == "F")
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return "\n".join(
        [
            "# Figures in process",
            "",
            "Written by `make bench`; [README.md](README.md) says what each number means.",
            "A bar in F is met by the ratio to F or by a ratio to the reference kernel of at most "
            f"{KERNEL_MARGIN:g}.",
            "",
            machine(peers, f"F = {floor_ns:.1f} ns", *notes),
            "",
            table([HEAD, *map(_cells, results)]),
            "",
            f"{met} of {len(held)} bars are met.",
            "",
        ]
    )
