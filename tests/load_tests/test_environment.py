from __future__ import annotations

import os
import platform

from load_tests.environment import MAX_BUSY, busy_before, environment


def test_the_machine_and_the_versions_are_told() -> None:
    found = environment()
    assert found["cores"] == os.cpu_count()
    assert found["python"] == platform.python_version()
    assert found["ram_mb"] > 100
    assert {"bentoml", "locust", "numpy"} <= found["versions"].keys()


def test_a_machine_is_idle_when_little_of_it_is_used() -> None:
    found = busy_before(0.1)
    assert 0 <= found["cpu_used_before"] <= 1
    assert found["idle_machine"] == (found["cpu_used_before"] <= MAX_BUSY)


def test_what_is_unknown_is_left_out() -> None:
    assert all(environment().values())
