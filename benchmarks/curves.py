"""What a decision costs against the number of rules, of keys and of processes.

Prints three tables, writes them to CURVES.md, and draws each into docs/.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import compiled
import plots
import processes
import report
import rows
from measure import Loop, rounds_of
from plots import Chart, Curve

import engine
from engine import rules

ROUNDS = 41
ROUNDS_OF_MANY = 15
PROCESSES_MAX = 4
DECADES = dict(enumerate(("1", "10", "100", "1k", "10k", "100k", "1M")))
ROOM = 128 << 20
HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
TABLES = HERE / "CURVES.md"
SOURCE = (
    "Written by `make curves`; [performance.md](../docs/performance.md) shows and explains them. "
    "Each figure is a median with its middle half."
)

# Parameters that admit whatever the loops ask for. A kind that is not here takes its defaults.
SAMPLES: dict[str, dict[str, Any]] = {
    "bulkhead": {"limit": 32},
    "rate_limit": {"rate": rows.RATE, "burst": rows.BURST},
    "shedder": {"limit": 64},
}


def sample_rules() -> Iterator[rules.Rule]:
    """One rule of each kind there is, in order of judgement."""
    for kind, rule in rules.KINDS.items():
        given = SAMPLES.get(kind, {})
        needed = {name for name, value in rules.parameters(rule).items() if value.is_required}
        if needed <= given.keys():
            yield rule(**given)
        else:
            print(f"{kind} is left out: SAMPLES lacks its {', '.join(needed)}", file=sys.stderr)


def _asked_apart(policies: list[engine.Policy]) -> Loop:
    """Each of these policies asked, and then told, one after another."""
    numbered = dict(enumerate(policies))
    asked = "".join(f"permit{number} = take{number}()\n" for number in numbered)
    told = "".join(f"permit{number}.success()\n" for number in numbered)
    names: dict[str, Any] = {f"take{n}": policy.try_acquire for n, policy in numbered.items()}
    return Loop(asked + told, **names)


def by_rules(eng: engine.Engine, kernels: ModuleType) -> Chart:
    """One policy of n rules, and n policies of one rule each."""
    chosen = list(sample_rules())
    alone = [engine.Policy(f"curves/{rule.kind}", rule, engine=eng) for rule in chosen]
    loops: dict[tuple[str, int], Loop] = {}
    for count in range(1, len(chosen) + 1):
        policy = engine.Policy(f"curves/{count}", *chosen[:count], engine=eng)
        loops["one policy", count] = Loop(rows.REPORTED, take=policy.try_acquire)
        loops["a policy for each rule", count] = _asked_apart(alone[:count])
        loops["an empty call", count] = Loop("f()", f=kernels.Floor().nothing)
    names = [rule.kind.replace("_", "\n") for rule in chosen]
    return Chart(
        name="cost-by-rules",
        title="One decision and its report, by the number of rules",
        across="rules in force",
        up="nanoseconds",
        ticks={n: f"{n}\n{'+ ' if n > 1 else ''}{name}" for n, name in enumerate(names, 1)},
        panels={"": _sampled(loops)},
    )


def by_keys(eng: engine.Engine, kernels: ModuleType) -> Chart:
    """A keyed rate limit, and a dict of the fastest limiters there can be."""
    loops: dict[tuple[str, int], Loop] = {}
    for power in DECADES:
        count = 10**power
        keys = rows.tenants(count)
        table, apart = rows.keyed_limiter(eng, keys), rows.a_limiter_each(keys, kernels)
        loops["keyed limiter", count] = Loop("f(1, key)", keys=keys, f=table.try_acquire)
        loops["dict of limiters", count] = Loop("f(key).try_acquire()", keys=keys, f=apart.get)
        loops["reading the key", count] = Loop("pass", keys=keys)
    return Chart(
        name="cost-by-keys",
        title="One decision of a rate limit by key, keys at random",
        across="keys in use",
        up="nanoseconds",
        ticks={10**power: name for power, name in DECADES.items()},
        panels={"": _sampled(loops)},
    )


def _sampled(loops: dict[tuple[str, int], Loop]) -> list[Curve]:
    return Curve.all_of(rounds_of({at: loop.sample for at, loop in loops.items()}, ROUNDS))


def by_processes(path: Path) -> Chart:
    """All decisions of 1 to 4 processes a second, on a slot for each and on one for all."""
    cpus = sorted(os.sched_getaffinity(0))
    workers = processes.launch(path, [cpus[n % len(cpus)] for n in range(PROCESSES_MAX)])

    def run(name: str, count: int) -> Callable[[], float]:
        return lambda: 1_000 * processes.together(name, workers[:count])[1]

    counts = range(1, PROCESSES_MAX + 1)
    names = {"own limiter", "limiter", "own policy", "policy"}
    found = rounds_of(
        {(name, count): run(name, count) for name in names for count in counts}, ROUNDS_OF_MANY
    )
    for worker in workers:
        worker.stop()

    def panel(name: str) -> list[Curve]:
        words = {f"own {name}": "one each", name: "one for all"}
        return Curve.all_of(
            {(words[own], count): found[own, count] for own in words for count in counts}
        )

    return Chart(
        name="throughput-by-processes",
        title="Decisions of all processes together",
        across="processes on one arena",
        up="million decisions a second",
        ticks={count: str(count) for count in counts},
        panels={"Rate limit": panel("limiter"), "Policy of 3 rules": panel("policy")},
        mark=(len(cpus), f"{len(cpus)} cores"),
    )


def _section(chart: Chart) -> str:
    curves = {
        f"{panel}, {curve.name}" if panel else curve.name: curve
        for panel, curves in chart.panels.items()
        for curve in curves
    }
    cells = [
        (label.replace("\n", " "), *(str(curve.points[place]) for curve in curves.values()))
        for place, label in chart.ticks.items()
    ]
    table = report.table([(chart.across, *curves), *cells])
    return f"## {chart.title}\n\nIn {chart.up}.\n\n{table}\n"


def main() -> None:
    """Measure, print, write, draw."""
    kernels = compiled.load()
    print("three charts, a minute or so", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, engine.Engine(arena_size=ROOM) as eng:
        charts = [
            by_rules(eng, kernels),
            by_keys(eng, kernels),
            by_processes(Path(folder, "many.arena")),
        ]
    text = "\n".join(["# Curves", "", SOURCE, "", report.machine(), "", *map(_section, charts)])
    print(text)
    TABLES.write_text(text)
    for chart in charts:
        plots.draw(chart, DOCS / f"{chart.name}.png", note=report.machine_in_short())


if __name__ == "__main__":
    main()
