"""Every in-process figure beside its bar: prints one table and writes it to RESULTS.md."""

import sys
import tempfile
from pathlib import Path

import compiled
import measure
import memory
import peers
import processes
import report
import rows
import threads

import engine

ROUNDS = 41
ROUNDS_OF_TWO = 15
RESULTS = Path(__file__).with_name("RESULTS.md")
WITH_A_GIL = "the rows of two threads need a free-threaded Python, which this one is not"


def main() -> None:
    """Measure, print, write."""
    kernels = compiled.load()
    with tempfile.TemporaryDirectory() as folder, engine.Engine() as eng:
        wanted = [
            *rows.primitive_rows(eng, kernels),
            *rows.policy_rows(eng, kernels, Path(folder, "policy.arena")),
            *rows.form_rows(eng),
            *rows.keyed_rows(eng, kernels),
            *peers.limiter_rows(eng),
            *peers.decorated_rows(eng),
            *peers.coroutine_rows(eng),
            *peers.semaphore_rows(eng),
        ]
        print(f"{len(wanted)} rows, {ROUNDS} rounds, a minute or so", file=sys.stderr)
        results = [
            *measure.measure(wanted, ROUNDS),
            *processes.measure(Path(folder, "two.arena"), ROUNDS_OF_TWO),
            *threads.measure(ROUNDS_OF_TWO),
            *memory.results(),
        ]
    notes = () if threads.are_free() else (WITH_A_GIL,)
    text = report.document(results, *notes)
    print(text)
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
