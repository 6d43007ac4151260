"""What the demo shows: a live table, or a line a second where there is no terminal."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

from plan import Call, Script
from rich.console import Console
from rich.live import Live
from rich.table import Table

from engine.runtime import BreakerSnapshot

COLOURS = {
    "closed": "green",
    "forced_closed": "green",
    "half_open": "yellow",
    "recovering": "yellow",
    "open": "red",
    "forced_open": "red",
}
COLUMNS = ("asked", "served", "failed", "refused")


class Board:
    """The figures so far, for whoever looks on."""

    def __init__(self, console: Console, script: Script, doors: dict[str, str]) -> None:
        self._script = script
        self._doors = doors
        self._console = console
        self._counts = {name: Counter[str]() for name in doors}
        self._next_line_s = 0.0
        self._live = Live(console=console, auto_refresh=False)

    def add(self, call: Call) -> None:
        """Count a call."""
        served = "served" if call.ok else "failed"
        self._counts[call.worker].update(["asked", served if call.admitted else "refused"])

    def show(self, now: float, breaker: BreakerSnapshot) -> None:
        """Show how things stand at `now`."""
        at = max(0.0, now - self._script.start)
        payments = "failing" if self._script.failing(now) else "fine"
        if self._console.is_terminal:
            self._live.update(self._table(at, payments, breaker), refresh=True)
        elif at >= self._next_line_s:
            self._next_line_s = int(at) + 1
            self._line(at, payments, breaker)

    def _line(self, at: float, payments: str, breaker: BreakerSnapshot) -> None:
        total = sum(self._counts.values(), Counter[str]())
        figures = "  ".join(f"{name} {total[name]:>4}" for name in COLUMNS)
        state = breaker.state.replace("_", "-")
        text = f"{at:4.0f} s  payments {payments:<7}  circuit {state:<9}  {figures}"
        print(text, flush=True)

    def _table(self, at: float, payments: str, breaker: BreakerSnapshot) -> Table:
        state = f"[{COLOURS[breaker.state]}]{breaker.state.replace('_', '-')}[/]"
        table = Table(
            title=f"{at:4.1f} s   payment service {payments}   circuit {state}",
            caption=f"{breaker.failures} failures in the last {breaker.calls} calls",
        )
        table.add_column("worker")
        table.add_column("asks by")
        for name in COLUMNS:
            table.add_column(name, justify="right", min_width=7)
        for worker, door in self._doors.items():
            counts = self._counts[worker]
            table.add_row(worker, door, *(str(counts[name]) for name in COLUMNS))
        return table

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()
