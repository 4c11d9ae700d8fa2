"""Which encode/decode pair fits which kind of graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import msgspec

from services.errors import ArtifactError, UsageError
from services.tasks.classify import Classify, ClassifySettings
from services.tasks.generate_summary import GenerateSummary, GenerateSummarySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.tasks.summarize import Summarize, SummarizeSettings
from services.tasks.zeroshot import ZeroShot, ZeroShotSettings
from services.windows import TextTokenizer

EXPORT = "Export the checkpoint again."
ABOVE_ZERO = ("temperature", "scale", "max_answer_tokens", "max_sentences", "max_tokens")

Task = Classify | ZeroShot | AnswerQuestions | Summarize | GenerateSummary

# kind -> (task class, settings class, graph outputs)
KINDS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "sequence-classification": (Classify, ClassifySettings, ("logits",)),
    "zero-shot": (ZeroShot, ZeroShotSettings, ("last_hidden_state",)),
    "question-answering": (AnswerQuestions, QaSettings, ("start_logits", "end_logits")),
    "sentence-extraction": (Summarize, SummarizeSettings, ("logits",)),
    "seq2seq": (GenerateSummary, GenerateSummarySettings, ("sequences",)),
}


def build_task(
    kind: str,
    tokenizer: TextTokenizer,
    labels: Sequence[str],
    max_tokens: int,
    decoding: dict[str, Any],
) -> Task:
    """The task of a kind with its settings; raises ArtifactError for an unknown kind or setting."""
    if kind not in KINDS:
        raise ArtifactError(f"Kind {kind!r} is unknown; expected one of {', '.join(KINDS)}.")
    task_class, settings_class, _ = KINDS[kind]
    names = {item.name for item in fields(settings_class)}
    unknown = sorted(set(decoding) - names)
    if unknown:
        raise ArtifactError(
            f"Decoding settings {', '.join(unknown)} are unknown; "
            f"{kind} takes {', '.join(sorted(names))}.",
            "Export the checkpoint again with this version.",
        )
    values = {**decoding, "max_tokens": max_tokens}
    if "labels" in names:
        values["labels"] = list(labels)
    try:
        task: Task = task_class(tokenizer, settings_class(**values))
    except UsageError as error:
        raise ArtifactError(error.message, EXPORT) from error
    return task


def check_types(kind: str, decoding: dict[str, Any]) -> None:
    """Raise ArtifactError for a setting of another type than it has."""
    try:
        msgspec.convert(decoding, KINDS[kind][1])
    except msgspec.ValidationError as error:
        raise ArtifactError(f"Decoding settings: {error}.", EXPORT) from error
    except UsageError as error:
        raise ArtifactError(error.message, EXPORT) from error


def check_settings(task: Task) -> None:
    """Raise ArtifactError for settings with which texts could not be decoded."""
    settings, tokenizer = task.settings, task.tokenizer
    for name in ABOVE_ZERO:
        if getattr(settings, name, 1) <= 0:
            raise ArtifactError(
                f"{name} is {getattr(settings, name)}; expected more than 0.", EXPORT
            )
    thresholds, labels = getattr(settings, "thresholds", []), getattr(settings, "labels", [])
    if thresholds and len(thresholds) != len(labels):
        raise ArtifactError(
            f"There are {len(thresholds)} thresholds for {len(labels)} labels.", EXPORT
        )
    room = tokenizer.room(settings.max_tokens)
    stride = 0 if isinstance(settings, QaSettings) else getattr(settings, "stride", 0)
    if room <= max(stride, 0) or stride < 0:
        raise ArtifactError(
            f"A window of {settings.max_tokens} tokens has room for {room}; expected more than the "
            f"{stride} that it shares with the next one.",
            EXPORT,
        )
