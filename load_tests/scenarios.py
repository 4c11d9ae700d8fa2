"""The ways to ask a server, after MLPerf Inference (Reddi et al. 2020), made small.

    single_stream  one client, the next request when the answer is there: latency without a queue
    batch          the same with 8 texts a request (MLPerf: multi-stream)
    server         requests due at random times (Poisson, seeded), whether or not the server keeps
                   up: the highest rate at which the p99 still meets its target is the headline
    offline        all texts at hand, in the process of the model, no HTTP: the ceiling

The first three are driven by Locust (`load_tests.locustfile`), the last by `load_tests.inprocess`.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOSED, OPEN, IN_PROCESS = "closed", "open", "in process"


@dataclass(frozen=True)
class Scenario:
    """loop: what decides when the next request is sent; texts: of one request

    users: clients of a closed loop; connections of an open one, more than are ever on their way
    """

    name: str
    loop: str
    users: int = 1
    texts: int = 1


SINGLE_STREAM = Scenario("single_stream", CLOSED)
BATCH = Scenario("batch", CLOSED, texts=8)
SERVER = Scenario("server", OPEN, users=64)
OFFLINE = Scenario("offline", IN_PROCESS)

SCENARIOS = {one.name: one for one in (SINGLE_STREAM, BATCH, SERVER, OFFLINE)}
HTTP_SCENARIOS = {name: one for name, one in SCENARIOS.items() if one.loop != IN_PROCESS}
