"""The collector of engine.metrics, without a server."""

import subprocess
import sys

import pytest

from engine.core.breaker import STATES
from engine.metrics import CIRCUIT_STATES, split_name

HIDE = "import sys; sys.modules['prometheus_client'] = None\nimport engine.metrics"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("payments/charge", ("payments", "charge")),
        ("payments/v1/charge", ("payments", "v1/charge")),
        ("payments", ("payments", "")),
    ],
)
def test_name_splits_at_its_first_slash(name, parts):
    assert split_name(name) == parts


def test_every_state_of_a_circuit_has_its_number():
    assert CIRCUIT_STATES.keys() == set(STATES)
    assert CIRCUIT_STATES["forced_open"] == CIRCUIT_STATES["open"] == 2
    assert CIRCUIT_STATES["forced_closed"] == CIRCUIT_STATES["closed"] == 0


def test_import_names_the_command_when_the_extra_is_missing():
    done = subprocess.run([sys.executable, "-c", HIDE], capture_output=True, text=True, check=False)
    said = "engine.metrics needs prometheus_client: pip install 'admittance[metrics]'"
    assert done.stderr.splitlines()[-1] == f"ImportError: {said}"
