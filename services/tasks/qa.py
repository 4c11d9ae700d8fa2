"""A question and documents to the span that answers it, or to no answer.

Graph: input_ids, attention_mask, token_type_ids? -> start_logits, end_logits (windows, tokens).
The null score is the logit of the first token as start and end (Devlin et al. 2019, SQuAD 2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.errors import ContentError
from services.tasks.base import Encoded, Outputs, Result, sigmoid
from services.windows import (
    LongText,
    TextTokenizer,
    Tokens,
    Window,
    check_text,
    checked_tokens,
    limit,
    spans,
)

MIN_CONTEXT_TOKENS = 16


@dataclass(frozen=True)
class QaSettings:
    """null_bias: span minus null at which an answer is as likely as none; threshold: on the score.

    The score of a span is sigmoid((span - null - null_bias) / temperature), so that windows and
    documents are compared by how much better a span is than no answer there.
    """

    null_bias: float = 0.0
    temperature: float = 1.0
    threshold: float = 0.5
    max_answer_tokens: int = 30
    max_tokens: int = 384
    stride: int = 128


@dataclass(frozen=True, slots=True)
class Span:
    """A candidate: document, [start, end) in code points, span minus null logit."""

    document: int
    start: int
    end: int
    margin: float


class AnswerQuestions:
    """Encode and decode for one extractive reader."""

    def __init__(self, tokenizer: TextTokenizer, settings: QaSettings) -> None:
        self.tokenizer = tokenizer
        self.settings = settings

    def encode(
        self, question: str, documents: Sequence[str], long_text: LongText = "window"
    ) -> Encoded:
        check_text(question, "question")
        frame = self.tokenizer.pair_frame(question)
        room = self.settings.max_tokens - frame.special
        if room < MIN_CONTEXT_TOKENS:
            raise ContentError(
                f"question leaves room for {room} of {self.settings.max_tokens} tokens; "
                f"expected at least {MIN_CONTEXT_TOKENS} for the context.",
                "Ask a shorter question.",
                code="question_too_long",
            )
        stride = min(self.settings.stride, room // 2)
        windows: list[Window] = []
        all_tokens: list[Tokens] = []
        truncated = False
        for number, document in enumerate(documents):
            tokens = checked_tokens(self.tokenizer, document, "context")
            tokens, cut = limit(tokens, room, long_text, "context")
            truncated |= cut
            pieces = spans(len(tokens.ids), room, stride)
            windows += [frame.window(tokens, start, end, number) for start, end in pieces]
            all_tokens.append(tokens)
        return Encoded(windows, all_tokens, list(documents), truncated)

    def decode(
        self,
        encoded: Encoded,
        outputs: Sequence[Outputs],
        top_k: int = 1,
        threshold: float | None = None,
    ) -> Result:
        spans_found = self.best_spans(encoded, outputs, top_k)
        answers = [self._answer(encoded, span) for span in spans_found]
        best, rest = answers[0], answers[1:]
        least = self.settings.threshold if threshold is None else threshold
        if best["score"] < least:
            return {
                "answer": None,
                "score": best["score"],
                "start": None,
                "end": None,
                "document": None,
                "alternatives": answers[:top_k] if top_k > 1 else [],
            }
        return {**best, "alternatives": rest}

    def best_spans(
        self, encoded: Encoded, outputs: Sequence[Outputs], top_k: int = 1
    ) -> list[Span]:
        """The `top_k` best spans of all windows, best first; overlapping ones count once."""
        longest = self.settings.max_answer_tokens
        found = [
            _candidates(window, output, longest, top_k)
            for window, output in zip(encoded.windows, outputs, strict=True)
        ]
        margins = np.concatenate([margins for margins, _ in found])
        tokens = np.concatenate([tokens for _, tokens in found])
        owners = np.repeat(np.arange(len(found)), [len(margins) for margins, _ in found])
        kept: list[Span] = []
        for place in np.argsort(-margins, kind="stable"):
            document = encoded.windows[owners[place]].document
            offsets = encoded.tokens[document].offsets
            first, last = tokens[place].tolist()
            span = Span(document, offsets[first][0], offsets[last][1], float(margins[place]))
            if not any(_overlap(span, other) for other in kept):
                kept.append(span)
            if len(kept) == top_k:
                break
        return kept

    def _answer(self, encoded: Encoded, span: Span) -> Result:
        logit = (span.margin - self.settings.null_bias) / self.settings.temperature
        found = encoded.texts[span.document][span.start : span.end]
        # SentencePiece counts the blank before a word as part of it; no answer begins with one.
        answer = found.strip() or found
        start = span.start + found.index(answer)
        return {
            "answer": answer,
            "score": float(sigmoid(np.array(logit))),
            "start": start,
            "end": start + len(answer),
            "document": span.document,
        }


def banded_sums(
    start_logits: NDArray[np.float32], end_logits: NDArray[np.float32], max_answer_tokens: int
) -> NDArray[np.float32]:
    """Score of every legal span: (lengths, tokens), row d for d + 1 tokens, -inf past the end."""
    tokens = len(start_logits)
    lengths = min(max_answer_tokens, tokens)
    sums = np.full((lengths, tokens), -np.inf, np.float32)
    for extra in range(lengths):
        sums[extra, : tokens - extra] = start_logits[: tokens - extra] + end_logits[extra:]
    return sums


def _candidates(
    window: Window, output: Outputs, max_answer_tokens: int, top_k: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The best spans of one window in no order: (spans,) margins, (spans, 2) first and last token.

    Several for each that is wanted, because the best ones usually overlap each other. Tokens are
    counted from the first of the document.
    """
    first, last = window.content
    start, end = output["start_logits"], output["end_logits"]
    null = float(start[0] + end[0])
    sums = banded_sums(start[first:last], end[first:last], max_answer_tokens)
    flat = sums.ravel()
    wanted = 1 if top_k == 1 else min(len(flat), 20 * top_k)
    best = np.array([flat.argmax()]) if wanted == 1 else np.argpartition(-flat, wanted - 1)[:wanted]
    best = best[~np.isneginf(flat[best])]
    extra, token = np.divmod(best, sums.shape[1])
    begins = window.first + token
    bounds = np.stack([begins, begins + extra], axis=1).astype(np.int32)
    return flat[best].astype(np.float64) - null, bounds


def _overlap(one: Span, other: Span) -> bool:
    return one.document == other.document and one.start < other.end and other.start < one.end
