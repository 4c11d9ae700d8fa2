from __future__ import annotations

import os
import platform

from load_tests.environment import environment


def test_the_machine_and_the_versions_are_told() -> None:
    found = environment()
    assert found["cores"] == os.cpu_count()
    assert found["python"] == platform.python_version()
    assert found["ram_mb"] > 100
    assert {"bentoml", "locust", "numpy"} <= found["versions"].keys()


def test_what_is_unknown_is_left_out() -> None:
    assert all(environment().values())
