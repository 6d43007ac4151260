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
PEERS = ("pybreaker", "circuitbreaker", "limits", "tenacity")


def table(results: list[Result]) -> str:
    """A Markdown table that reads well as plain text."""
    cells = [HEAD, *(_cells(result) for result in results)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    lines = [_line(row, widths) for row in cells]
    return "\n".join([lines[0], _line(tuple("-" * width for width in widths), widths), *lines[1:]])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
    )


def _cells(result: Result) -> tuple[str, ...]:
    kernel, ours_ns = result.kernel_ratio, result.ours_ns
    low, high = result.quartiles
    return (
        result.operation,
        f"{_short(result.ratio)} {result.bar.unit}",
        str(result.bar),
        "met" if result.is_met else "NOT met",
        "" if kernel is None else f"{kernel:.2f}",
        "" if ours_ns is None else f"{ours_ns:.0f}",
        f"{_short(low)}-{_short(high)}",
    )


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def machine(results: list[Result]) -> str:
    """What the figures depend on: processor, kernel, Python, compiler, peers, load."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    floor_ns = next(result.theirs_ns for result in results if result.bar.unit == "F")
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return "\n".join(
        [
            f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"- {_cpu()}, {cores} cores, clock source {_clock_source()}",
            f"- {platform.system()} {platform.release()}, load averages at the end {load}",
            f"- {platform.python_implementation()} {platform.python_version()}, {_compiler()}",
            f"- {peers}",
            f"- F = {floor_ns:.1f} ns",
        ]
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = (line.partition(":") for line in lines)
    found = (value.strip() for key, _, value in fields if key.strip() == "model name")
    return next(found, platform.machine())


def _clock_source() -> str:
    where = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return where.read_text().strip() if where.exists() else "unknown"


def _compiler() -> str:
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return shown.stdout.partition("\n")[0] or compiler


def document(results: list[Result]) -> str:
    """RESULTS.md."""
    missed = [result for result in results if not result.is_met]
    return "\n".join(
        [
            "# Figures in process",
            "",
            "Written by `make bench`; [README.md](README.md) says what each number means.",
            "A bar in F is met by the ratio to F or by a ratio to the reference kernel of at most "
            f"{KERNEL_MARGIN:g}.",
            "",
            machine(results),
            "",
            table(results),
            "",
            f"{len(results) - len(missed)} of {len(results)} bars are met.",
            "",
        ]
    )
