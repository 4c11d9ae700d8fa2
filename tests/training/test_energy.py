"""Energy by CodeCarbon, where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from load_tests.server import ROOT
from training.energy import EnergyMeter, co2

SCRIPT = """
import json, time
from training.energy import EnergyMeter
with EnergyMeter(every_s=0.2) as meter:
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        pass
print(json.dumps(meter.record))
"""


@pytest.mark.skipif(find_spec("codecarbon") is None, reason="codecarbon is not installed")
def test_work_takes_energy_and_a_guess_is_labelled() -> None:
    """In a process of its own: CodeCarbon starts threads and warns of what it cannot read."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0 < found["wh"] < 10
    assert found["estimated"] is (found["method"] != "RAPL")


@pytest.mark.skipif(find_spec("codecarbon") is None, reason="codecarbon is not installed")
def test_what_electricity_emits_depends_on_the_country() -> None:
    world, germany, nowhere = (co2(1000.0, country) for country in ("", "DEU", "XYZ"))
    assert world["of"] == nowhere["of"] == "world average"
    assert germany["of"] == "DEU"
    assert 0 < germany["co2_g"] != world["co2_g"] == world["g_per_kwh"]
    assert germany["co2_estimated"] is True


@pytest.mark.skipif(find_spec("codecarbon") is not None, reason="codecarbon is installed")
def test_without_codecarbon_energy_is_left_out() -> None:
    with EnergyMeter() as meter:
        pass
    assert meter.record is None
