"""Memory of the default models, loaded and warm, and the time from start to ready.

In: one published variant of each model, as the default Bento holds them. Out: PSS of the server's
process tree after every model has answered; seconds until /readyz says 200, the files in the page
cache and everything that is kept from a first start in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from load_tests.peers.figures import at_most, figure
from load_tests.peers.plan import Plan
from load_tests.peers.servers import planned, post
from load_tests.peers.variants import Variant, artifacts, variants
from load_tests.server import Server, serving

Row = dict[str, Any]
Say = Callable[[str], None]

MEMORY_TARGET = at_most(350.0, "MB", stretch=300.0)
READY_TARGET = at_most(3.0, "s")


def measure(plan: Plan, say: Say) -> Row:
    models = variants()
    keys = list(models)
    say("footprint: a first start, so that files and plans are cached")
    with planned(keys) as server:
        _warm(server, models.values())
    loaded_mb, warm_mb, ready_s = [], [], []
    for turn in range(plan.rounds):
        say(f"footprint: start {turn + 1} of {plan.rounds}")
        with serving(keys) as server:
            ready_s.append(server.cold_start_s)
            loaded_mb.append(server.pss_mb())
            _warm(server, models.values())
            warm_mb.append(server.pss_mb())
    what = f"{len(keys)} models: {', '.join(keys)}"
    return {
        "figures": [
            figure("PSS when ready", loaded_mb, "MB"),
            figure("PSS when every model has answered", warm_mb, "MB", MEMORY_TARGET, how=what),
            figure("start to ready", ready_s, "s", READY_TARGET, how="files in the page cache"),
        ],
        "artifacts": artifacts(models.values()),
    }


def _warm(server: Server, models: Iterable[Variant]) -> None:
    """Every example of the API, to the model it is for."""
    for model in models:
        for body in model.bodies:
            post(f"{server.url}/{model.task}", body)
