"""A request to the items that the scheduler works on: which text is encoded and decoded how.

One function a task; the models' own words are in `services.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from services.errors import UsageError
from services.generation.text import SummaryStream
from services.runtime import Runtime
from services.schemas import (
    ClassifyRequest,
    InvalidError,
    QaRequest,
    SummarizeRequest,
    TaskRequest,
)
from services.tasks.classify import Classify
from services.tasks.generate_summary import GenerateSummary
from services.tasks.qa import AnswerQuestions
from services.tasks.summarize import Summarize
from services.tasks.zeroshot import ZeroShot
from services.windows import check_text
from services.work import Item

DEFAULT_SENTENCES = 3
Say = Callable[[str], None]


def items_of(
    request: TaskRequest, runtime: Runtime, say: Say | None = None
) -> tuple[list[Item], bool]:
    """The items of a request, and whether it is a single one rather than a list.

    say: told, in a worker, each piece of the summary of one text as soon as it is final
    """
    if isinstance(request, ClassifyRequest):
        return _classify(request, runtime), isinstance(request.text, str)
    if isinstance(request, QaRequest):
        return _qa(request, runtime), isinstance(request.question, str)
    return _summarize(request, runtime, say), isinstance(request.text, str)


def _classify(request: ClassifyRequest, runtime: Runtime) -> list[Item]:
    task = runtime.task
    long_text, choices = request.long_text, (request.top_k, request.threshold)
    if isinstance(task, ZeroShot):
        labels = _labels(request, task)
        return [
            Item(
                partial(task.encode, text, labels, long_text),
                partial(task.decode, top_k=request.top_k, threshold=request.threshold),
                characters=len(text),
                key=(text, tuple(labels), long_text, choices),
                reduce=task.reduce,
            )
            for text in _list(request.text)
        ]
    if not isinstance(task, Classify):
        raise _wrong(request, runtime)
    decode = partial(task.decode, top_k=request.top_k, threshold=request.threshold)
    return [
        Item(
            partial(task.encode, text, long_text),
            decode,
            characters=len(text),
            key=(text, long_text, choices),
        )
        for text in _list(request.text)
    ]


def _labels(request: ClassifyRequest, task: ZeroShot) -> list[str]:
    labels = request.labels or task.settings.labels
    if not labels:
        raise InvalidError(
            "labels is missing; zeroshot chooses among the names it is given.",
            'Send "labels": ["one name", "another"].',
        )
    for label in labels:
        check_text(label, "labels")
    return labels


def _qa(request: QaRequest, runtime: Runtime) -> list[Item]:
    task = runtime.task
    if not isinstance(task, AnswerQuestions):
        raise _wrong(request, runtime)
    questions, documents = _list(request.question), _list(request.context)
    contexts = [[one] for one in documents] if request.paired else [documents] * len(questions)
    decode = partial(task.decode, top_k=request.top_k, threshold=request.threshold)
    choices = (request.long_text, request.top_k, request.threshold)
    return [
        Item(
            partial(task.encode, question, context, request.long_text),
            decode,
            characters=sum(len(document) + len(question) for document in context),
            key=(question, tuple(context), choices),
        )
        for question, context in zip(questions, contexts, strict=True)
    ]


def _summarize(request: SummarizeRequest, runtime: Runtime, say: Say | None) -> list[Item]:
    task = runtime.task
    if isinstance(task, GenerateSummary):
        return _write(request, task, say)
    if not isinstance(task, Summarize):
        raise _wrong(request, runtime)
    if request.generation is not None:
        raise InvalidError(
            f"generation is for models that write; {runtime.manifest.model} chooses sentences.",
            "Leave it out, or name another model; see /models.",
            code="not_for_model",
        )
    sentences = request.max_sentences
    if sentences is None and request.max_words is None:
        sentences = DEFAULT_SENTENCES
    decode = partial(task.decode, max_sentences=sentences, max_words=request.max_words)
    choices = (request.long_text, sentences, request.max_words)
    return [
        Item(
            partial(task.encode, text, None, request.long_text),
            decode,
            characters=len(text),
            key=(text, choices),
        )
        for text in _list(request.text)
    ]


def _write(request: SummarizeRequest, task: GenerateSummary, say: Say | None) -> list[Item]:
    options = msgspec.structs.asdict(request.generation) if request.generation else {}
    try:
        settings = task.settings.replace(**options)
    except UsageError as error:
        raise InvalidError(f"generation: {error.message}", error.hint) from error
    limits = (request.max_sentences, request.max_words)
    decode = partial(task.decode, max_sentences=limits[0], max_words=limits[1])
    heard = None
    if say is not None and limits == (None, None):  # else it is chosen from what is complete
        heard = SummaryStream(task.tokenizer.decode, say).push
    choices = (request.long_text, request.generation, limits)
    return [
        Item(
            partial(task.encode, text, request.long_text, **options),
            decode,
            characters=len(text),
            key=None if heard else (text, choices),
            heard=heard,
            written=settings.num_beams * settings.max_new_tokens,
            usual=task.settings.num_beams * task.settings.max_new_tokens,
            window=settings.max_tokens,
        )
        for text in _list(request.text)
    ]


def _list(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


def _wrong(request: TaskRequest, runtime: Runtime) -> InvalidError:
    """The model exists, but does another job."""
    model, task = runtime.manifest.model, runtime.manifest.task
    return InvalidError(
        f"model {model} does {task}, which this request does not ask for.",
        f"Post to /{task}, or see /models.",
    )
