"""The answers of the REST contract as types.

The OpenAPI document is generated from them, and the tests hold every answer to them; the service
itself writes plain dictionaries.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class Usage(Struct, forbid_unknown_fields=True):
    """What the models read: tokens (special ones and overlaps included) and windows."""

    tokens: int
    truncated: bool
    windows: int


class Fault(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What was found and expected, and the next step."""

    code: str
    message: str
    hint: str
    request_id: str | UnsetType = UNSET


class ErrorAnswer(Struct, forbid_unknown_fields=True):
    """Every answer that is not a success; also one item of a list that could not be answered."""

    error: Fault


class LabelScore(Struct, forbid_unknown_fields=True):
    """A label and how sure the model is of it, 0..1."""

    label: str
    score: float


class ClassifyResult(Struct, forbid_unknown_fields=True):
    """`label` is the best one, also when abstained; `chosen` comes from multi-label models only."""

    label: str
    score: float
    scores: list[LabelScore]
    abstained: bool
    chosen: list[str] | UnsetType = UNSET


class QaSpan(Struct, forbid_unknown_fields=True):
    """`context[start:end] == answer`, in code points, of document number `document`."""

    answer: str
    score: float
    start: int
    end: int
    document: int


class QaResult(Struct, forbid_unknown_fields=True):
    """All but `score` and `alternatives` are null when there is no answer."""

    answer: str | None
    score: float
    start: int | None
    end: int | None
    document: int | None
    alternatives: list[QaSpan]


class SummarySentence(Struct, forbid_unknown_fields=True):
    """`text[start:end]` of the caller's text, in code points."""

    text: str
    start: int
    end: int
    score: float


class SummarizeResult(Struct, forbid_unknown_fields=True):
    """`compression` is the length of the summary over that of the text.

    `sentences` are those chosen of the text; none when the model writes in its own words.
    """

    summary: str
    sentences: list[SummarySentence]
    compression: float


class Stages(Struct, forbid_unknown_fields=True):
    """Milliseconds on the server by stage."""

    queue: float
    tokenize: float
    infer: float
    decode: float


class ComparedVariant(Struct, forbid_unknown_fields=True):
    """One variant in a comparison: `agreement` is with the first, 0..1.

    `latency_ms` is the time that the variant worked on the input, waiting left out; `stages_ms`
    tells it by stage; `memory_mb` is what loading it added to the process.
    """

    variant: str
    results: list[dict[str, Any]]
    latency_ms: float
    stages_ms: Stages
    memory_mb: float
    agreement: float


class CompareAnswer(Struct, forbid_unknown_fields=True):
    """`agreement` is the smallest of the variants'; `usage` counts what all of them read."""

    task: str
    model: str
    usage: Usage
    agreement: float
    variants: list[ComparedVariant]


class MeasuredQuality(Struct, forbid_unknown_fields=True):
    """`value` of `metric` over `n` rows of `data`."""

    metric: str
    value: float
    n: int
    data: str
    ci_low: float | None
    ci_high: float | None


class CallPlan(Struct, forbid_unknown_fields=True):
    """How a graph is called here: `calls` at a time, each with `threads` cores, at most `windows`
    of them and `tokens` in a call, which differ by at most `padding` tokens.

    `windows_per_s`: short windows a second when it was measured; 0 until then.
    """

    calls: int
    threads: int
    windows: int
    tokens: int
    padding: int
    windows_per_s: float


class ModelEntry(Struct, forbid_unknown_fields=True):
    """One published variant; `sha256` is that of its graph; `plan` and `memory_mb` when loaded."""

    model: str
    variant: str
    task: str
    base: str
    parameters: int
    size_bytes: int
    quality: MeasuredQuality | None
    sha256: str
    loaded: bool
    memory_mb: float | None
    plan: CallPlan | None
    default: bool


class ModelsAnswer(Struct, forbid_unknown_fields=True):
    """Every variant that this service knows."""

    models: list[ModelEntry]


class HfLabel(Struct, forbid_unknown_fields=True):
    """Hugging Face's answer to text classification, one of a list for each text."""

    label: str
    score: float


class HfAnswer(Struct, forbid_unknown_fields=True):
    """Hugging Face's answer to a question; an empty `answer` means that there is none."""

    answer: str
    score: float
    start: int
    end: int


class HfSummary(Struct, forbid_unknown_fields=True):
    """Hugging Face's answer to a text to summarize."""

    summary_text: str
