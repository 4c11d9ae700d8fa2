"""A shape for Locust: the values of `--steps`, one after the other, `--step-s` seconds each.

For the scenario `server` they are rates, and the users (`-u`) stay the same; else they are numbers
of users. Give it beside the locustfile:

    locust -f load_tests/locustfile.py,load_tests/shapes.py --steps 50,100,200 ...
"""

from __future__ import annotations

from typing import Any

from locust import LoadTestShape

OPEN_SCENARIO = "server"


class Steps(LoadTestShape):
    """Users, and how many of them may start in a second, as long as there is a step."""

    use_common_options = True  # -u says how many users an open loop has

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        options: Any = self.runner.environment.parsed_options
        steps = [float(step) for step in options.steps.split(",") if step]
        index = int(self.get_run_time() / options.step_s)
        if index >= len(steps):
            return None
        users = options.num_users if options.scenario == OPEN_SCENARIO else int(steps[index])
        return users or 1, float(users or 1)
