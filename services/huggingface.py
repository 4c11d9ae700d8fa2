"""Hugging Face's inference payloads to ours, and our answers to theirs.

So `huggingface_hub.InferenceClient(model="http://host:3000/hf/question-answering")` works by URL.
"""

from __future__ import annotations

from typing import Any

from services.errors import ContentError
from services.schemas import (
    ClassifyRequest,
    HfClassifyRequest,
    HfQaRequest,
    HfSummarizeRequest,
    QaRequest,
    SummarizeRequest,
    TaskRequest,
)
from services.tasks.base import Result
from services.windows import LongText

HfRequest = HfClassifyRequest | HfQaRequest | HfSummarizeRequest

ALL_LABELS = 1000


def request_of(payload: HfRequest) -> TaskRequest:
    """The request of ours that a payload asks for."""
    if isinstance(payload, HfClassifyRequest):
        return ClassifyRequest(text=payload.inputs, top_k=payload.parameters.top_k or ALL_LABELS)
    if isinstance(payload, HfSummarizeRequest):
        cut = payload.parameters.truncation in ("longest_first", "only_first")
        handling: LongText = "truncate" if cut else "window"
        return SummarizeRequest(
            text=payload.inputs,
            long_text=handling,
            generation=payload.parameters.generate_parameters,
        )
    return QaRequest(
        question=payload.inputs.question,
        context=payload.inputs.context,
        top_k=payload.parameters.top_k or 1,
        threshold=None if payload.parameters.handle_impossible_answer else 0.0,
    )


def answer_of(payload: HfRequest, results: list[Result]) -> Any:
    """Our results in Hugging Face's shape; raises ContentError for the first that is a fault."""
    for result in results:
        if "error" in result:
            fault = result["error"]
            raise ContentError(fault["message"], fault["hint"], code=fault["code"])
    if isinstance(payload, HfClassifyRequest):
        return [result["scores"] for result in results]
    if isinstance(payload, HfSummarizeRequest):
        return [{"summary_text": result["summary"]} for result in results]
    top_k = payload.parameters.top_k or 1
    spans = [_span(one) for one in (results[0], *results[0]["alternatives"])]
    return spans[:top_k] if top_k > 1 else spans[0]


def _span(result: Result) -> dict[str, Any]:
    """An answer without its document; the empty string stands for no answer."""
    if result["answer"] is None:
        return {"answer": "", "score": 1.0 - result["score"], "start": 0, "end": 0}
    return {name: result[name] for name in ("answer", "score", "start", "end")}
