"""One loaded variant: windows in, graph outputs out.

    runtime = Runtime.load(folder)
    encoded = runtime.task.encode("where is my card")
    result = runtime.task.decode(encoded, runtime.infer(encoded.windows))

Thread-safe: one ONNX Runtime session is shared by all callers, each call using as many cores as
the plan says. An int8 graph chooses its activation scale over all windows of a call, so there the
scores of a window depend a little on its neighbours; with one window a call they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from services.binding import on_device
from services.errors import ArtifactError, TransferError
from services.manifest import AGAIN, Manifest
from services.memory import resident_mb
from services.plan import LONG, Call, Plan, PlanFile, calls_of, measure, plan_key, unmeasured
from services.providers import CPU as CPU
from services.providers import CUDA as CUDA
from services.providers import UnavailableError as UnavailableError
from services.providers import (
    cuda_fault,
    gpu_memory_limit,
    offered_providers,
    session_providers,
)
from services.registry import (
    GRAPH_NAME,
    check_files,
    check_variant,
    graphs_of,
    load_task,
    plan_digest,
)
from services.settings import Provider
from services.tasks.base import Encoded, Outputs
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.zeroshot import ZeroShot
from services.windows import Tokens, Window, pad

WHOLE = "tensor(int64)"
FLOATS = ("tensor(float)", "tensor(float16)")
# Fused with the addition before it, layer normalization takes four times as long on a CPU: an int8
# graph of three layers reads 168 tokens in 3.9 ms without this and in 4.7 ms with it, 12 tokens in
# 0.32 and 0.37 ms (onnxruntime 1.31). fp32 graphs are as fast either way.
SLOW_ON_CPU = ["SkipLayerNormFusion"]

Observe = Callable[[int, int], None]


class Runtime:
    """A variant with its session, its task and what its loading cost in memory."""

    def __init__(
        self,
        manifest: Manifest,
        folder: Path,
        task: Task,
        provider: str,
        plan: Plan,
    ) -> None:
        self.manifest = manifest
        self.task = task
        self.provider = provider
        self.plan = plan
        self.memory_mb = 0.0
        self.observe: Observe | None = None  # told (windows, tokens) of every call
        self.folder = folder
        self._per_token = manifest.kind != "sequence-classification"
        self._graphs = self._open(plan.threads)

    @classmethod
    def load(
        cls,
        folder: Path,
        provider: Provider = "auto",
        cores: int = 1,
        plans: PlanFile | None = None,
    ) -> Runtime:
        """Check, load and try one variant; raises ArtifactError or UnavailableError.

        It is called as `plans` say for this machine, or by a plan that is sound anywhere. One that
        generates is a `services.writer.Writer`.
        """
        manifest = check_variant(folder)
        chosen = choose_provider(manifest, provider, offered_providers())
        before = resident_mb()
        task = load_task(manifest, folder)
        key = plan_key_of(manifest, chosen, cores)
        plan = plans.find(key) if plans else None
        if plan is None:
            plan = unmeasured(cores, chosen == CUDA, alone=manifest.precision == "int8")
        runtime = _class_of(manifest)(manifest, folder, task, chosen, plan)
        runtime.warm_up()
        # What an earlier variant gave back is used again; the files are the least it can be.
        least = manifest.size_bytes / 1e6
        runtime.memory_mb = round(max(resident_mb() - before, least), 3)
        return runtime

    @property
    def key(self) -> str:
        return f"{self.manifest.model}/{self.manifest.variant}"

    def plan_key(self, cores: int) -> str:
        """Under which a plan measured for so many cores is kept."""
        return plan_key_of(self.manifest, self.provider, cores)

    def infer(self, windows: Sequence[Window]) -> list[Outputs]:
        """The outputs of every window, in order and without padding, in the calls of the plan."""
        outputs: list[Outputs | None] = [None] * len(windows)
        for call in calls_of(windows, self.plan):
            for index, output in zip(call, self.call([windows[i] for i in call]), strict=True):
                outputs[index] = output
        return [output for output in outputs if output is not None]

    def call(self, windows: Sequence[Window]) -> list[Outputs]:
        """The outputs of every window, in order and without padding, in one call of the graph."""
        outputs = self._run(self._graphs, windows)
        if self.observe:
            self.observe(len(windows), sum(map(len, windows)))
        return outputs

    def _run(self, graphs: Any, windows: Sequence[Window]) -> list[Outputs]:
        """`call` on what `_open` gave."""
        names = self.manifest.outputs
        feeds = pad(windows, self.task.tokenizer.pad_id, self.manifest.inputs)
        arrays = graphs.run(names, feeds)
        return [
            {
                name: array[row, : len(window)] if self._per_token else array[row]
                for name, array in zip(names, arrays, strict=True)
            }
            for row, window in enumerate(windows)
        ]

    def _open(self, threads: int) -> Any:
        """The graph, to be called on so many cores; refused when it does not fit the manifest."""
        session = open_session(self.folder / GRAPH_NAME, self.provider, threads)
        _check_graph(session, self.manifest, self.folder / GRAPH_NAME)
        return on_device(session)

    def measure_plan(self, cores: int) -> Plan:
        """Find out how this variant is best called here; it takes seconds.

        Raises ArtifactError when its files are not those any more that were loaded.
        """

        def open_call(threads: int) -> Call:
            # A graph keeps the memory of its largest call as long as it lives, so the one that
            # serves is not tried: five models kept 740 MB after it, where they keep 260 now.
            own = self.provider == CUDA
            return partial(self._trial, self._opened(threads) if own else self._reopen(threads))

        make = partial(sample_windows, self.task, min(self.manifest.max_tokens, LONG))
        return measure(open_call, make, cores, self.provider == CUDA)

    def _trial(self, graphs: Any, windows: Sequence[Window]) -> Any:
        """What is timed when a plan is measured."""
        return self._run(graphs, windows)

    def follow(self, plan: Plan) -> None:
        """Call the graph as `plan` says from now on; raises what `measure_plan` raises."""
        self._graphs, self.plan = self._opened(plan.threads), plan

    def _opened(self, threads: int) -> Any:
        return self._graphs if threads == self.plan.threads else self._reopen(threads)

    def _reopen(self, threads: int) -> Any:
        """The graph once more; raises ArtifactError when its file was replaced meanwhile."""
        check_files(self.folder, self.manifest)
        return self._open(threads)

    def warm_up(self) -> None:
        """Run one text, and refuse graphs whose outputs do not fit their manifest."""
        encoded = _sample(self.task)
        try:
            self._try(encoded.windows)
        except TransferError:
            raise
        except Exception as error:  # onnxruntime has no common base class
            raise ArtifactError(
                f"{self._last_graph} fails on one text: {_first_line(error)}.", AGAIN
            ) from error

    @property
    def _last_graph(self) -> Path:
        """Which most of the work is done by."""
        return self.folder / graphs_of(self.manifest.kind)[-1]

    def _try(self, windows: Sequence[Window]) -> None:
        """With the tokenizer's last token too: another model's would be unknown to the graph."""
        tokenizer = self.task.tokenizer
        last = tokenizer.single(Tokens([tokenizer.size - 1], []), self.manifest.max_tokens, 0)
        windows = [*windows, *last]
        for window, output in zip(windows, self.infer(windows), strict=True):
            _check_output(output, window, self.manifest, self._last_graph)


def _class_of(manifest: Manifest) -> type[Runtime]:
    from services.writer import Writer  # which is made from this module

    return Writer if manifest.kind == "seq2seq" else Runtime


def plan_key_of(manifest: Manifest, provider: str, cores: int) -> str:
    """Under which a plan of the variant is kept."""
    gpu = provider == CUDA
    return plan_key(plan_digest(manifest), cores, ort.__version__, gpu, gpu_memory_limit())


def choose_provider(manifest: Manifest, wanted: Provider, offered: Sequence[str]) -> str:
    """Where to run a variant; raises UnavailableError instead of choosing another place."""
    key = f"{manifest.model}/{manifest.variant}"
    needs_cuda = manifest.provider == CUDA or manifest.precision == "fp16"
    if (needs_cuda or wanted == "cuda") and CUDA not in offered:
        raise UnavailableError(
            f"{key} needs {CUDA}; this machine offers {', '.join(offered)}{_why()}.",
            "Serve distilled-int8, or install the gpu extra on a machine with a GPU; "
            "`transfer doctor` tells what is missing.",
        )
    if needs_cuda and wanted == "cpu":
        raise UnavailableError(
            f"{key} needs {CUDA}; TRANSFER_PROVIDER=cpu forbids it.",
            "Serve distilled-int8, or set TRANSFER_PROVIDER=auto.",
        )
    int8 = manifest.precision == "int8"
    if int8 and wanted == "cuda":
        raise UnavailableError(
            f"{key} is int8, which runs on {CPU}; TRANSFER_PROVIDER=cuda asks for {CUDA}.",
            "Serve distilled-fp16, or set TRANSFER_PROVIDER=auto.",
        )
    return CUDA if CUDA in offered and wanted != "cpu" and not int8 else CPU


def _why() -> str:
    """Why CUDA is not offered, where onnxruntime could run on it."""
    fault = cuda_fault() if CUDA in ort.get_available_providers() else None
    return f" ({fault[0]})" if fault else ""


def open_session(graph: Path, provider: str, threads: int) -> ort.InferenceSession:
    """A session on `provider` and nowhere else, each call using `threads` cores.

    Raises UnavailableError where the provider does not work here, ArtifactError for a bad graph.
    """
    if provider == CUDA and (fault := cuda_fault()):
        raise UnavailableError(f"{graph} needs {provider}; {fault[0]}.", fault[1])
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(
            str(graph),
            options,
            providers=session_providers(provider),
            disabled_optimizers=SLOW_ON_CPU if provider == CPU else [],
        )
    except Exception as error:  # onnxruntime has no common base class
        raise ArtifactError(f"{graph} cannot be loaded: {_first_line(error)}.", AGAIN) from error
    if session.get_providers()[0] != provider:  # ONNX Runtime falls back with only a warning
        raise UnavailableError(
            f"{graph} needs {provider}; onnxruntime started {session.get_providers()[0]} instead.",
            "Check the driver with `transfer doctor`, or set TRANSFER_PROVIDER=cpu.",
        )
    return session


def _check_graph(session: ort.InferenceSession, manifest: Manifest, graph: Path) -> None:
    inputs = sorted(node.name for node in session.get_inputs())
    if inputs != sorted(manifest.inputs):
        raise ArtifactError(
            f"{graph} takes {', '.join(inputs)}; its manifest says {', '.join(manifest.inputs)}.",
            AGAIN,
        )
    for node in session.get_inputs():
        if node.type != WHOLE:
            raise ArtifactError(f"{graph} takes {node.name} as {node.type}; not {WHOLE}.", AGAIN)
    outputs = [node.name for node in session.get_outputs()]
    if not set(manifest.outputs) <= set(outputs):
        raise ArtifactError(
            f"{graph} gives {', '.join(outputs)}; its manifest says {', '.join(manifest.outputs)}.",
            AGAIN,
        )

    for node in session.get_outputs():
        if node.name in manifest.outputs and node.type not in FLOATS:
            raise ArtifactError(
                f"{graph} gives {node.name} as {node.type}; expected {' or '.join(FLOATS)}.", AGAIN
            )


def _check_output(output: Outputs, window: Window, manifest: Manifest, graph: Path) -> None:
    for name, array in output.items():
        if not np.isfinite(array).all():
            raise ArtifactError(f"{graph} gives {name} that is not finite for one text.", AGAIN)
    expected = _expected_shape(manifest, len(window))
    for name, array in output.items():
        if array.ndim != len(expected) or any(
            want not in (None, got) for got, want in zip(array.shape, expected, strict=True)
        ):
            raise ArtifactError(
                f"{graph} gives {name} of shape {array.shape} for one text; "
                f"{manifest.kind} with {len(manifest.labels)} labels needs {expected}.",
                AGAIN,
            )


def _expected_shape(manifest: Manifest, tokens: int) -> tuple[int | None, ...]:
    shapes: dict[str, tuple[int | None, ...]] = {
        "sequence-classification": (len(manifest.labels),),
        "zero-shot": (tokens, None),
        "question-answering": (tokens,),
        "sentence-extraction": (tokens, 1),
    }
    return shapes[manifest.kind]


def _sample(task: Task) -> Encoded:
    text = "A short text to warm up with. It has two sentences."
    if isinstance(task, AnswerQuestions):
        return task.encode("What is short?", [text])
    if isinstance(task, ZeroShot):
        return task.encode(text, ["one", "another"])
    return task.encode(text)


def sample_windows(task: Task, longest: int, count: int, tokens: int) -> list[Window]:
    """`count` windows of `tokens` tokens each (at most `longest`), of words that repeat."""
    tokenizer, tokens = task.tokenizer, min(tokens, longest)
    text = "a short text to find out how fast this model reads on this machine " * (tokens // 8 + 1)
    return [tokenizer.single(tokenizer.tokens(text), tokens, 0)[0]] * count


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error)


def result_of(runtime: Runtime, encoded: Any, **choices: Any) -> dict[str, Any]:
    """Infer and decode one encoded item in process (what `transfer predict` does)."""
    return runtime.task.decode(encoded, runtime.infer(encoded.windows), **choices)
