"""Locust for a running server: every HTTP scenario, on one machine or on many.

    locust -f load_tests/locustfile.py --host http://127.0.0.1:3000
    locust -f load_tests/locustfile.py --host URL --headless -u 1 -t 1m QaUser
    locust -f load_tests/locustfile.py --host URL --headless -u 64 -t 1m ClassifyUser \\
        --scenario server --rate 200 --slo-p99-ms 50 --record run.json
    locust -f load_tests/locustfile.py,load_tests/shapes.py --headless --scenario server \\
        --steps 50,100,200 --step-s 30 -u 64 --host URL ClassifyUser
    locust ... --master --expect-workers 2           # and on other machines:
    locust -f load_tests/locustfile.py --worker --master-host HOST

Exit code 1 when a promise of `--slo-...` was not kept, the run is invalid, or more requests failed
than `--slo-failures` allows. What had no answer at the end of an open loop has failed.
docs/load-tests.md explains the scenarios.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner

# `locust -f` puts only this file's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load_tests.arrivals import FOREVER_S, stepped
from load_tests.bodies import examples, zero_shot_labels
from load_tests.mixes import MIXES, bodies_of, grouped
from load_tests.pacer import ClosedLoop, OpenLoop
from load_tests.percentiles import summary
from load_tests.recorder import Recorder, achieved, mean_stages_ms
from load_tests.scenarios import HTTP_SCENARIOS, OPEN, SINGLE_STREAM
from load_tests.slo import Slo
from load_tests.users import USERS, TaskUser
from load_tests.users import ClassifyUser as ClassifyUser
from load_tests.users import QaUser as QaUser
from load_tests.users import SummarizeUser as SummarizeUser
from load_tests.validity import faults

GRACE_S = 1.0  # a request that was due so shortly before the end may still be without an answer
DEFAULT_MODELS = {"classify": "intent", "qa": "reader", "summarize": "highlights"}


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    group = parser.add_argument_group("Transfer", "scenarios, texts and promises")
    add = group.add_argument
    add("--scenario", choices=list(HTTP_SCENARIOS), default=SINGLE_STREAM.name)
    add("--mix", choices=["examples", *MIXES], default="examples", help="texts; the API's examples")
    add("--model", default="", help="the model that is asked; the route's own without it")
    add("--variant", default="", help="and the variant")
    add("--rate", type=float, default=10.0, help="server: requests a second, of all users together")
    add("--steps", default="", help="with shapes.py: rates (server) or users, with commas")
    add("--step-s", type=float, default=30.0, help="with shapes.py: seconds of each step")
    add("--seed", type=int, default=0, help="of arrivals and mixes")
    add("--slo-p99-ms", type=float, default=0.0, help="exit code 1 when the p99 is higher")
    add("--slo-shed", type=float, help="or a larger share gets 429; 0.01 where a p99 is promised")
    add("--slo-failures", type=float, default=0.0, help="or a larger share fails")
    add("--record", default="", help="file for exact percentiles and every latency, as JSON")
    parser.add_argument(  # a group's own does not know what is secret
        "--api-key",
        default="",
        is_secret=True,
        env_var="TRANSFER_API_KEY",
        help="for a service with keys",
    )


def steps_of(options: Any) -> list[float]:
    """The values of `--steps`."""
    return [float(step) for step in options.steps.split(",") if step]


@events.init.add_listener
def prepare(environment: Any, **_: Any) -> None:
    """A recorder for this process, and how its record reaches the master."""
    recorder = Recorder()
    run = Run(environment, recorder)
    listen = environment.events
    listen.request.add_listener(recorder.request)
    listen.user_error.add_listener(recorder.user_error)
    listen.test_start.add_listener(run.begin)
    listen.spawning_complete.add_listener(run.release)
    listen.test_stopping.add_listener(run.end)
    listen.test_stop.add_listener(run.stop)
    listen.report_to_master.add_listener(run.report)
    listen.worker_report.add_listener(lambda client_id, data: recorder.add(data["transfer"]))
    listen.quitting.add_listener(run.finish)


class Run:
    """One run of this process, be it alone, a worker, or the master of workers."""

    def __init__(self, environment: Any, recorder: Recorder) -> None:
        self.environment = environment
        self.recorder = recorder
        self.pacing: ClosedLoop | OpenLoop = ClosedLoop()
        self._cpu_s = self._began = self._ended = 0.0
        self._released = False

    def begin(self, **_: Any) -> None:
        options = self.environment.parsed_options
        scenario = HTTP_SCENARIOS[options.scenario]
        self.pacing = OpenLoop() if scenario.loop == OPEN else ClosedLoop()
        self._released, self._ended = False, 0.0
        for user in USERS.values():
            user.pacing = self.pacing
            user.use_key(options.api_key)
            user.send(texts_of(user, options, scenario.texts))
        self._cpu_s, self._began = time.process_time(), time.perf_counter()

    def release(self, user_count: int, **_: Any) -> None:
        """All users are there: requests become due, on each worker by its share of them."""
        runner = self.environment.runner
        if self._released or isinstance(runner, MasterRunner):
            return
        self._released = True
        options = self.environment.parsed_options
        share = runner.user_count / user_count
        steps = steps_of(options)
        stages = [(rate * share, options.step_s) for rate in steps]
        stages = stages or [(options.rate * share, FOREVER_S)]
        seed = 1000 * options.seed + max(0, runner.worker_index)
        self.pacing.start(stepped(stages, seed=seed))

    def end(self, **_: Any) -> None:
        """Users are about to be stopped; with `--stop-timeout`, when they have their answers."""
        self._ended = time.perf_counter()
        self.pacing.pause()

    def stop(self, **_: Any) -> None:
        """All users are gone, each with the request it had on its way: Locust tells of none."""
        promised_s = self.environment.parsed_options.slo_p99_ms / 1000
        self.recorder.lost(self.pacing.unanswered(self._ended - max(GRACE_S, promised_s)))
        self.pacing.stop()

    def _wait_answered(self) -> None:
        """Told to end by a signal, Locust asks for the record before it stops its users."""
        self.pacing.pause()
        until = time.monotonic() + (self.environment.stop_timeout or 0.0)
        while self.pacing.unanswered(math.inf) and time.monotonic() < until:
            gevent.sleep(0.05)
        self.end()
        self.stop()

    def _settle(self) -> None:
        """What the pacer and the clocks know goes into the recorder."""
        took = max(time.perf_counter() - self._began, 1e-9)
        self.recorder.generator_cpu = max(
            self.recorder.generator_cpu, (time.process_time() - self._cpu_s) / took
        )
        if isinstance(self.pacing, OpenLoop):
            self.recorder.released += self.pacing.released
            self.recorder.late += self.pacing.late
            self.pacing.released = self.pacing.late = 0

    def report(self, client_id: str, data: dict[str, Any]) -> None:
        self._settle()
        data["transfer"] = self.recorder.take()

    def finish(self, environment: Any, **_: Any) -> None:
        """Judge the run, on the machine that saw all of it."""
        if environment.parsed_options.worker or not self._began:
            return
        if not self._ended:
            self._wait_answered()
        self._settle()
        environment.process_exit_code = conclude(self.recorder.take(), environment.parsed_options)


def texts_of(user: type[TaskUser], options: Any, texts: int) -> list[dict[str, Any]]:
    """What the users of a task send."""
    if options.mix == "examples" and texts == 1:
        bodies = examples(user.task_name)
    else:
        mix = "mixed" if options.mix == "examples" else options.mix
        model = options.model or DEFAULT_MODELS[user.task_name]
        labels = zero_shot_labels() if model == "zeroshot" else None
        bodies = bodies_of(user.task_name, model, mix, labels=labels, seed=options.seed)
        bodies = grouped(user.task_name, bodies, texts)
    chosen = {name: getattr(options, name) for name in ("model", "variant")}
    return [{**body, **{k: v for k, v in chosen.items() if v}} for body in bodies]


def promised(options: Any) -> Slo:
    """What `--slo-...` ask for: each on its own, and that nothing fails."""
    shed = Slo.max_shed if options.slo_p99_ms else 1.0
    if options.slo_shed not in (None, ""):  # a string when it comes from Locust's page
        shed = float(options.slo_shed)
    return Slo(options.slo_p99_ms or None, shed, options.slo_failures)


def conclude(seen: dict[str, Any], options: Any) -> int:
    """Print what was seen, write the record, and return the exit code."""
    judged = {**seen, "achieved": achieved(seen)}
    invalid = faults(judged)
    missed = promised(options).faults(judged)
    latencies = seen["latencies_ms"]
    record = {
        "scenario": options.scenario,
        "seed": options.seed,
        "latency_ms": summary(latencies, seed=options.seed) if latencies else {},
        "achieved": judged["achieved"],
        "stages_ms": mean_stages_ms(seen),
        "invalid": invalid,
        "slo_missed": missed,
        **{name: seen[name] for name in ("items", "shed", "failures", "generator_cpu")},
        "latencies_ms": latencies,
    }
    if options.record:
        Path(options.record).write_text(json.dumps(record) + "\n", encoding="utf-8")
    told = [f"FAILED: {count} x {fault}" for fault, count in seen["failures"].items()]
    told += [f"INVALID: {why}" for why in invalid] + [f"SLO: {why}" for why in missed]
    for line in told:
        print(line, file=sys.stderr)
    return int(bool(missed or invalid))
