"""The corpus replayed, and every fuzzer for a moment: fuzz.py says what is promised."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fuzz
import pytest

from engine import Engine

SCRIPT = Path(__file__).with_name("fuzz.py")
SHORT_S, LONG_S = 6, 60


@pytest.mark.parametrize("target", ["image", "token", "wire"])
def test_nothing_breaks_when_what_is_read_is_damaged(target: str, soak: bool) -> None:
    seconds = LONG_S if soak else SHORT_S
    done = subprocess.run(
        [sys.executable, SCRIPT, target, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"tries (\d+)", done.stdout)[0]) > 5 * seconds


@pytest.mark.parametrize(("name", "data"), list(fuzz.corpus()), ids=[n for n, _ in fuzz.corpus()])
def test_message_of_the_corpus_is_answered_or_refused_in_words(
    name: str, data: bytes, open_engine: Callable[..., Engine]
) -> None:
    eng = open_engine(arena_size=fuzz.ARENA_BYTES)
    fuzz.bind(eng)
    answered, broken = fuzz.feed(eng, data)
    assert broken == 0
    assert (answered > 0) == name.startswith("good")
