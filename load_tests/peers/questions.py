"""`/qa` against `transformers.pipeline("question-answering")` in fp32, questions a second.

In: the published reader and the torch weights it came from. Out: questions a second of both on the
same questions with contexts as long as SQuAD's, and of the reader's graph with nothing else to do.
The pipeline is called in process with two threads and its better batch size of 1 and 8; ours
answers over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from load_tests.modules import LoadError
from load_tests.peers import servers
from load_tests.peers.figures import at_least, figure
from load_tests.peers.plan import Plan
from load_tests.peers.rounds import interleaved, ratios
from load_tests.peers.splits import Split, splits
from load_tests.peers.variants import artifacts, variants
from load_tests.texts import questions_with_contexts, squad_questions
from load_tests.worker import Worker
from load_tests.wrk import Load, run_wrk
from services.settings import usable_cores

Row = dict[str, Any]
Say = Callable[[str], None]

KEY = "reader/distilled-int8"
TARGET = at_least(8.0, "x transformers.pipeline, full model")
ALONE = "the graph alone in process"
LARGEST_BATCH = 8  # larger ones only pad
WEIGHTS = ("full", "distilled")  # the target is against what one would have without this project


def measure(plan: Plan, say: Say) -> Row:
    pairs = squad_questions(plan.squad) if plan.squad else questions_with_contexts()
    items = [{"question": question, "context": context} for question, context in pairs]
    reader = variants([KEY])[KEY]
    bodies = [{**item, "model": reader.model, "variant": reader.variant} for item in items]
    folders = {name: _weights(plan.checkpoints / reader.model / name) for name in WEIGHTS}
    decoding = {**reader.decoding, "max_tokens": reader.max_tokens}
    loads: list[Load] = []
    say("qa: load transformers and the server")
    with (
        Worker("load_tests.peers.pipeline") as worker,
        Worker("load_tests.peers.graph_alone") as graph,
        servers.planned([KEY]) as server,
    ):

        def over_http() -> float:
            load = run_wrk(f"{server.url}/qa", bodies, plan.seconds, server_pid=server.pid)
            loads.append(load)
            return load.rate

        def pipeline(folder: Path) -> float:
            request = {"checkpoint": str(folder), "bodies": items, "decoding": decoding}
            return float(worker.ask(**request, seconds=plan.seconds))

        def alone(split: Split, seconds: float) -> float:
            request = {"folder": str(reader.folder), "pairs": pairs, "split": asdict(split)}
            return float(graph.ask(**request, seconds=seconds))

        say("qa: the best split of the cores for the graph alone")
        tried = {n: one for n, one in splits(usable_cores()).items() if one.batch <= LARGEST_BATCH}
        searched = {name: alone(split, plan.search_s) for name, split in tried.items()}
        quickest = max(searched, key=searched.__getitem__)
        phases: dict[str, Callable[[], float]] = {
            "ours": over_http,
            ALONE: lambda: alone(tried[quickest], plan.seconds),
        }
        phases |= {name: (lambda path=path: pipeline(path)) for name, path in folders.items()}
        _check(server.url, bodies)
        for phase in phases.values():
            phase()  # warm up
        loads.clear()
        say(f"qa: {plan.rounds} rounds of {len(phases)} phases of {plan.seconds} s")
        rates = interleaved(phases, plan.rounds)
    words = sorted(len(context.split()) for _, context in pairs)
    texts = f"{len(pairs)} questions, contexts of {words[0]} to {words[-1]} words"
    failures = sum(load.failures for load in loads)
    rows = [
        figure(f"/qa, {KEY}", rates["ours"], "questions/s", how=f"{texts}; {failures} failures")
    ]
    rows.append(figure(f"{ALONE}, {KEY}", rates[ALONE], "questions/s", how=quickest))
    rows.append(figure(f"/qa, {KEY}, of {ALONE}", ratios(rates["ours"], rates[ALONE]), "x"))
    for name in WEIGHTS:
        weights = f"transformers.pipeline fp32, {name} model"
        rows.append(figure(weights, rates[name], "questions/s", how="in process, 2 threads"))
        times = ratios(rates["ours"], rates[name])
        target = TARGET if name == "full" else None
        rows.append(figure(f"/qa, {KEY}, to {weights}", times, "x", target))
    return {"figures": rows, "rates": rates, "artifacts": artifacts([reader])}


def _weights(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise LoadError(
            f"{folder} has no config.json; the pipeline needs the reader's torch weights.",
            "Run `transfer build`, or name its checkpoints with --checkpoints.",
        )
    return folder


def _check(url: str, bodies: list[Row]) -> None:
    """Some answers are there, and lie where they say."""
    found = 0
    for body in bodies[: servers.PROBES]:
        (result,) = servers.post(f"{url}/qa", body)["results"]
        if result["answer"] is not None:
            check_offsets(body["context"], result)
            found += 1
    if not found:
        raise LoadError(
            f"/qa found no answer to any of {servers.PROBES} questions; expected some.",
            "Serve a reader that was trained.",
        )


def check_offsets(context: str, result: Row) -> None:
    """Raises LoadError unless the answer is the context from `start` to `end`, in code points."""
    cut = context[result["start"] : result["end"]]
    if cut != result["answer"]:
        raise LoadError(
            f"/qa says that {result['answer']!r} is at {result['start']}..{result['end']}; "
            f"there is {cut!r}.",
            "Mend the offsets before measuring.",
        )
