"""One loaded variant: windows in, graph outputs out.

    runtime = Runtime.load(folder)
    encoded = runtime.task.encode("where is my card")
    result = runtime.task.decode(encoded, runtime.infer(encoded.windows))

Thread-safe: one ONNX Runtime session is shared by all callers, each call using `threads` cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from services.errors import ArtifactError, TransferError, UsageError
from services.manifest import Manifest
from services.registry import AGAIN, GRAPH_NAME, check_variant, load_task
from services.settings import Provider
from services.tasks.base import Encoded, Outputs
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.zeroshot import ZeroShot
from services.windows import Window, pad

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# Windows a call and how much longer the longest may be than the shortest. On a CPU a batch buys
# little and padding loses; int8 graphs choose their activation scale over the whole call, so there
# a window alone gives the same answer whatever its neighbours are. On a GPU batches are what pays.
CPU_WINDOWS, INT8_WINDOWS, CUDA_WINDOWS = 4, 1, 32
PADDING = 1.25

Observe = Callable[[int, int], None]


class UnavailableError(UsageError):
    """A variant that this machine cannot run as it was asked to."""

    code = "unavailable"
    status = 503


class Runtime:
    """A variant with its session, its task and what its loading cost in memory."""

    def __init__(
        self,
        manifest: Manifest,
        task: Task,
        session: ort.InferenceSession,
        provider: str,
        memory_mb: float = 0.0,
    ) -> None:
        self.manifest = manifest
        self.task = task
        self.session = session
        self.provider = provider
        self.memory_mb = memory_mb
        self.observe: Observe | None = None  # told (windows, tokens) of every call
        self._per_token = manifest.kind != "sequence-classification"
        self._windows = _windows_per_call(manifest, provider)

    @classmethod
    def load(cls, folder: Path, provider: Provider = "auto", threads: int = 1) -> Runtime:
        """Check, load and try one variant; raises ArtifactError or UnavailableError."""
        manifest = check_variant(folder)
        chosen = choose_provider(manifest, provider, ort.get_available_providers())
        before = _resident_mb()
        task = load_task(manifest, folder)
        session = _session(folder / GRAPH_NAME, chosen, threads)
        _check_graph(session, manifest, folder / GRAPH_NAME)
        runtime = cls(manifest, task, session, chosen)
        runtime.warm_up(folder / GRAPH_NAME)
        # What an earlier variant gave back is used again; the files are the least it can be.
        least = manifest.size_bytes / 1e6
        runtime.memory_mb = round(max(_resident_mb() - before, least), 3)
        return runtime

    @property
    def key(self) -> str:
        return f"{self.manifest.model}/{self.manifest.variant}"

    def infer(self, windows: Sequence[Window]) -> list[Outputs]:
        """The outputs of every window, in order and without padding."""
        outputs: list[Outputs | None] = [None] * len(windows)
        for group in group_by_length([len(window) for window in windows], self._windows):
            for index, output in zip(group, self._run([windows[i] for i in group]), strict=True):
                outputs[index] = output
        return [output for output in outputs if output is not None]

    def _run(self, windows: list[Window]) -> Iterator[Outputs]:
        feeds = pad(windows, self.task.tokenizer.pad_id, self.manifest.inputs)
        arrays = self.session.run(self.manifest.outputs, feeds)
        if self.observe:
            self.observe(len(windows), sum(len(window) for window in windows))
        for row, window in enumerate(windows):
            stop = len(window) if self._per_token else None
            yield {
                name: array[row, :stop]
                for name, array in zip(self.manifest.outputs, arrays, strict=True)
            }

    def warm_up(self, graph: Path) -> None:
        """Run one text, and refuse a graph whose outputs do not fit its manifest."""
        encoded = _sample(self.task)
        try:
            outputs = self.infer(encoded.windows)
        except TransferError:
            raise
        except Exception as error:  # onnxruntime has no common base class
            raise ArtifactError(
                f"{graph} fails on one text: {_first_line(error)}.", AGAIN
            ) from error
        for window, output in zip(encoded.windows, outputs, strict=True):
            _check_output(output, window, self.manifest, graph)


def choose_provider(manifest: Manifest, wanted: Provider, offered: Sequence[str]) -> str:
    """Where to run a variant; raises UnavailableError instead of choosing another place."""
    key = f"{manifest.model}/{manifest.variant}"
    needs_cuda = manifest.provider == CUDA or manifest.precision == "fp16"
    if (needs_cuda or wanted == "cuda") and CUDA not in offered:
        raise UnavailableError(
            f"{key} needs {CUDA}; this machine offers {', '.join(offered)}.",
            "Serve distilled-int8, or install the gpu extra.",
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


def group_by_length(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices of windows in groups of at most `most` that are about equally long."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and len(groups[-1]) < most:
            shortest = lengths[groups[-1][0]]
            if lengths[index] <= max(shortest * PADDING, shortest + 2):
                groups[-1].append(index)
                continue
        groups.append([index])
    return groups


def _windows_per_call(manifest: Manifest, provider: str) -> int:
    if provider == CUDA:
        return CUDA_WINDOWS
    return INT8_WINDOWS if manifest.precision == "int8" else CPU_WINDOWS


def _session(graph: Path, provider: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [provider] if provider == CPU else [provider, CPU]
    try:
        session = ort.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:  # onnxruntime has no common base class
        raise ArtifactError(f"{graph} cannot be loaded: {_first_line(error)}.", AGAIN) from error
    if session.get_providers()[0] != provider:  # ONNX Runtime falls back with only a warning
        raise UnavailableError(
            f"{graph} needs {provider}; onnxruntime started {session.get_providers()[0]} instead.",
            "Check the driver with `transfer doctor`.",
        )
    return session


def _check_graph(session: ort.InferenceSession, manifest: Manifest, graph: Path) -> None:
    inputs = sorted(node.name for node in session.get_inputs())
    if inputs != sorted(manifest.inputs):
        raise ArtifactError(
            f"{graph} takes {', '.join(inputs)}; its manifest says {', '.join(manifest.inputs)}.",
            AGAIN,
        )
    outputs = [node.name for node in session.get_outputs()]
    if not set(manifest.outputs) <= set(outputs):
        raise ArtifactError(
            f"{graph} gives {', '.join(outputs)}; its manifest says {', '.join(manifest.outputs)}.",
            AGAIN,
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


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error)


def _resident_mb() -> float:
    """Resident memory of this process; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * 4096 / 1e6


def result_of(runtime: Runtime, encoded: Any, **choices: Any) -> dict[str, Any]:
    """Infer and decode one encoded item in process (what `transfer predict` does)."""
    return runtime.task.decode(encoded, runtime.infer(encoded.windows), **choices)
