"""Sampled stacks to shares: which line, which function, which part of a request used the processor.

In: py-spy's raw format, one line a stack, `thread;function (file:line);... count`, root first. Out:
shares by line, by function, by thread and by the part of a request. Used by
`load_tests.profile_request`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from load_tests.server import ROOT

OTHER = "other"

# Part of a request, and what its frames look like: `function (file:line) source`. The innermost
# frame that fits any part decides. Calls into C leave no frame, so the source of our lines counts.
PARTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (part, re.compile(pattern))
    for part, pattern in (
        ("metrics", r"prometheus_client/|services/metrics"),
        ("infer", r"onnxruntime/|session\.run\(|services/runtime"),
        ("tokenize", r"tokenizers/|services/windows|encode\S* \(services/tasks"),
        ("decode", r"services/tasks"),
        ("JSON", r"(?<![.\w])_encode\(|\.decode\(body|services/schemas|json/|msgspec"),
        ("request id", r"request_id_of|urandom"),
        (
            "scheduling",
            r"services/(?:scheduler|engine|items|pace|plan)|concurrent/futures|threading\.py|queue\.py"
            r"|asyncio/(?:timeouts|futures|locks|queues|tasks|events)|_ThreadPool",
        ),
        ("HTTP", r"httptools|h11/|uvicorn/protocols|services/body|http_protocol|services/protocol"),
        ("ASGI", r"services/edge|starlette/|uvicorn/|asgi/|opentelemetry|bentoml|http/__init__"),
        ("event loop", r"asyncio/|uvloop"),
    )
)

_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)")
_THREAD = re.compile(r"thread \(\S+\): ?(?P<name>.*)")


@dataclass(frozen=True)
class Frame:
    """line: 0 where py-spy gives none; source: of our own files, without its indent"""

    function: str
    file: str
    line: int
    source: str = ""

    @property
    def name(self) -> str:
        return f"{self.function} ({self.file})"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.function} ({self.place}) {self.source}"


@dataclass(frozen=True)
class Stack:
    """frames: root first, at least one; samples: how often it was seen"""

    thread: str
    frames: tuple[Frame, ...]
    samples: int

    @property
    def leaf(self) -> Frame:
        return self.frames[-1]


def parse(text: str, root: Path = ROOT) -> list[Stack]:
    """The stacks of a raw profile; lines that are none are left out."""
    found = []
    for line in text.splitlines():
        stack, _, samples = line.rpartition(" ")
        if not stack or not samples.isdigit():
            continue
        thread, frames = "", []
        for part in stack.split(";"):
            if match := _THREAD.fullmatch(part):
                thread = match["name"]
            elif match := _FRAME.fullmatch(part):
                number = int(match["line"] or 0)
                source = _source(root, match["file"], number)
                frames.append(Frame(match["function"], match["file"], number, source))
        if frames:
            found.append(Stack(thread, tuple(frames), int(samples)))
    return found


@cache
def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _source(root: Path, file: str, line: int) -> str:
    """The line of one of our own files; empty for those of packages."""
    lines = _lines(root / file) if file.startswith("services/") else []
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def part_of(stack: Stack) -> str:
    """Which part of a request the stack is in, by its innermost frame that says so."""
    for frame in reversed(stack.frames):
        for part, pattern in PARTS:
            if pattern.search(str(frame)):
                return part
    return OTHER


def thread_of(stack: Stack) -> str:
    """The thread's name without its number: `transfer_0` and `transfer_1` are one pool."""
    return re.sub(r"[-_]\d+$", "", stack.thread) or OTHER


def shares(stacks: Iterable[Stack], key: Callable[[Stack], str]) -> dict[str, float]:
    """Share of the samples, 0..1, by `key`, largest first; empty without samples."""
    counted: Counter[str] = Counter()
    for stack in stacks:
        counted[key(stack)] += stack.samples
    total = counted.total()
    return {name: count / total for name, count in counted.most_common()}


def by_part(stacks: Iterable[Stack]) -> dict[str, float]:
    return shares(stacks, part_of)


def by_thread(stacks: Iterable[Stack]) -> dict[str, float]:
    return shares(stacks, thread_of)


def by_function(stacks: Iterable[Stack]) -> dict[str, float]:
    """Where the processor was, what a function calls left out."""
    return shares(stacks, lambda stack: stack.leaf.name)


def by_line(stacks: Iterable[Stack]) -> dict[str, float]:
    return shares(stacks, lambda stack: f"{stack.leaf.place}  {stack.leaf.source}".strip())


def with_callees(stacks: Sequence[Stack]) -> dict[str, float]:
    """Share of the samples with a function of `services/` anywhere on the stack, largest first."""
    counted: Counter[str] = Counter()
    for stack in stacks:
        ours = {frame.name for frame in stack.frames if frame.file.startswith("services/")}
        counted.update(dict.fromkeys(ours, stack.samples))
    total = sum(stack.samples for stack in stacks)
    return {name: count / total for name, count in counted.most_common()}
