"""Text to labels: one (softmax, abstains below a threshold) or several (sigmoid, thresholds).

The score of one label is the probability that it is right: softmax at the chosen temperature, times
the probability that the text is inside of the classes at all.

Graph: input_ids, attention_mask, token_type_ids? -> logits (windows, labels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.tasks.base import Encoded, Outputs, Result, sigmoid, softmax
from services.windows import LongText, TextTokenizer, checked_tokens, limit


@dataclass(frozen=True)
class ClassifySettings:
    """How logits become answers; stored in the manifest, chosen on held-out rows.

    threshold: single-label: abstain when the best score is below it; multi-label: the default
    thresholds: multi-label: one per label, in label order; empty means `threshold` for all
    temperature: logits are divided by it (Guo et al. 2017)
    scope_bias, scope_temperature: single-label: a text is inside of the classes with probability
        sigmoid((logsumexp(logits / temperature) - scope_bias) / scope_temperature); logsumexp is
        the energy score of Liu et al. 2020. A scope_temperature of 0 takes every text as inside.
    """

    labels: list[str] = field(default_factory=list)
    multi_label: bool = False
    threshold: float = 0.0
    thresholds: list[float] = field(default_factory=list)
    temperature: float = 1.0
    scope_bias: float = 0.0
    scope_temperature: float = 0.0
    max_tokens: int = 256
    stride: int = 32


class Classify:
    """Encode and decode for one classifier."""

    def __init__(self, tokenizer: TextTokenizer, settings: ClassifySettings) -> None:
        self.tokenizer = tokenizer
        self.settings = settings

    def encode(self, text: str, long_text: LongText = "window") -> Encoded:
        tokens = checked_tokens(self.tokenizer, text)
        room = self.tokenizer.room(self.settings.max_tokens)
        tokens, truncated = limit(tokens, room, long_text, "text")
        windows = self.tokenizer.single(tokens, self.settings.max_tokens, self.settings.stride)
        return Encoded(windows, [tokens], [text], truncated)

    def scores(self, encoded: Encoded, outputs: Sequence[Outputs]) -> NDArray[np.float64]:
        """(labels,) in 0..1: the probability of each label.

        Of one label: together they leave out the probability that none of them is meant.
        """
        logits = self.logits(encoded, outputs) / self.settings.temperature
        if self.settings.multi_label:
            return sigmoid(logits)
        probabilities = softmax(logits)
        if not self.settings.scope_temperature:
            return probabilities
        return probabilities * self._inside(logits, probabilities)

    def logits(self, encoded: Encoded, outputs: Sequence[Outputs]) -> NDArray[np.float64]:
        """(labels,) of the whole text, as the graph gives them.

        Windows are merged by the mean of their logits, weighted by length; for several labels by
        the maximum, because one passage is enough to show an emotion.
        """
        if len(outputs) == 1:
            return np.asarray(outputs[0]["logits"], np.float64)
        logits = np.stack([output["logits"] for output in outputs]).astype(np.float64)
        if self.settings.multi_label:
            return np.asarray(logits.max(axis=0))
        lengths = [window.content[1] - window.content[0] for window in encoded.windows]
        return np.asarray(np.average(logits, axis=0, weights=lengths))

    def _inside(self, scaled: NDArray[np.float64], softmaxed: NDArray[np.float64]) -> float:
        """Probability that any label is meant, from logits divided by the temperature."""
        best = int(scaled.argmax())
        energy = scaled[best] - math.log(softmaxed[best])  # logsumexp, once it is summed up
        distance = (energy - self.settings.scope_bias) / self.settings.scope_temperature
        return 1.0 / (1.0 + math.exp(-min(max(distance, -60.0), 60.0)))

    def decode(
        self,
        encoded: Encoded,
        outputs: Sequence[Outputs],
        top_k: int = 1,
        threshold: float | None = None,
    ) -> Result:
        scores = self.scores(encoded, outputs)
        if not self.settings.multi_label:
            least = self.settings.threshold if threshold is None else threshold
            return ranked(self.settings.labels, scores, top_k, least)
        result = ranked(self.settings.labels, scores, top_k, 0.0)
        chosen = scores >= self.thresholds(threshold)
        result["chosen"] = [self.settings.labels[i] for i in np.argsort(-scores) if chosen[i]]
        result["abstained"] = not result["chosen"]
        return result

    def thresholds(self, override: float | None = None) -> NDArray[np.float64]:
        """(labels,) the score from which each label counts as chosen."""
        if override is None and self.settings.thresholds:
            return np.asarray(self.settings.thresholds, np.float64)
        one = self.settings.threshold if override is None else override
        return np.full(len(self.settings.labels), one)


def ranked(
    labels: Sequence[str], scores: NDArray[np.float64], top_k: int, threshold: float
) -> Result:
    """The best label, also when abstained, and the `top_k` best with their scores."""
    best = int(scores.argmax())
    order = [best] if top_k == 1 else np.argsort(-scores, kind="stable")[:top_k].tolist()
    return {
        "label": labels[best],
        "score": float(scores[best]),
        "scores": [{"label": labels[i], "score": float(scores[i])} for i in order],
        "abstained": bool(scores[best] < threshold),
    }
