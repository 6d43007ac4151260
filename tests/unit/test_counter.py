"""A counter counts, and only upwards."""

from typing import Any

import pytest

from engine import Counter, Engine


def test_counter_adds(private: Engine) -> None:
    counter = Counter(engine=private)
    assert counter.value == 0
    counter.inc()
    counter.add(41)
    counter.add(0)
    assert counter.value == 42


def test_counters_of_one_name_are_one(private: Engine) -> None:
    first, second = (Counter(engine=private, name="visits") for _ in range(2))
    first.inc()
    second.add(2)
    assert (first.value, second.value) == (3, 3)


def test_counters_without_a_name_are_apart(private: Engine) -> None:
    first, second = (Counter(engine=private) for _ in range(2))
    first.inc()
    assert (first.value, second.value) == (1, 0)


def test_counter_is_no_policy(private: Engine) -> None:
    Counter(engine=private, name="visits").inc()
    assert private.names() == []
    assert private.snapshot().policies == []


def test_counter_holds_large_sums(private: Engine) -> None:
    counter = Counter(engine=private)
    counter.add(2**61)
    counter.inc()
    assert counter.value == 2**61 + 1


def test_counter_complains_when_it_should_go_back(private: Engine) -> None:
    counter = Counter(engine=private)
    with pytest.raises(ValueError, match="amount"):
        counter.add(-1)
    assert counter.value == 0


@pytest.mark.parametrize("amount", ["1", 1.5, None])
def test_counter_complains_when_the_amount_is_no_number(private: Engine, amount: Any) -> None:
    counter = Counter(engine=private)
    with pytest.raises(TypeError):
        counter.add(amount)
    assert counter.value == 0


def test_counter_complains_when_the_amount_does_not_fit(private: Engine) -> None:
    counter = Counter(engine=private)
    with pytest.raises((ValueError, OverflowError)):
        counter.add(2**63)
    assert counter.value == 0
