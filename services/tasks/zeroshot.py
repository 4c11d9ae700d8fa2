"""Text to any label names, without training: cosine similarity of mean-pooled embeddings.

Graph: input_ids, attention_mask, token_type_ids? -> last_hidden_state (windows, tokens, width).
Method: Reimers & Gurevych 2019 (Sentence-BERT); labels are read as short texts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from services.tasks.base import Encoded, Outputs, Result, softmax
from services.tasks.classify import ranked
from services.windows import LongText, TextTokenizer, checked_tokens, limit

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ZeroShotSettings:
    """labels: used when the request names none; scale: cosines are multiplied by it before softmax.

    template: how a label name becomes a text ("{}" is the name).
    """

    labels: list[str] = field(default_factory=list)
    template: str = "{}"
    scale: float = 20.0
    threshold: float = 0.0
    max_tokens: int = 256
    stride: int = 32
    cache_size: int = 4096


@dataclass(frozen=True, slots=True)
class EncodedZeroShot(Encoded):
    """Windows of the text first, then one for every label whose embedding is not known yet."""

    labels: tuple[str, ...] = ()
    known: dict[str, Vector] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


class ZeroShot:
    """Encode and decode for label names given with the request; label embeddings are remembered."""

    def __init__(self, tokenizer: TextTokenizer, settings: ZeroShotSettings) -> None:
        self.tokenizer = tokenizer
        self.settings = settings
        self._embeddings: OrderedDict[str, Vector] = OrderedDict()
        self._lock = Lock()

    def encode(
        self, text: str, labels: Sequence[str] = (), long_text: LongText = "window"
    ) -> EncodedZeroShot:
        names = tuple(labels) or tuple(self.settings.labels)
        tokens = checked_tokens(self.tokenizer, text)
        max_tokens, stride = self.settings.max_tokens, self.settings.stride
        tokens, truncated = limit(tokens, self.tokenizer.room(max_tokens), long_text, "text")
        windows = self.tokenizer.single(tokens, max_tokens, stride)
        known = self._known(names)
        unknown = tuple(name for name in dict.fromkeys(names) if name not in known)
        for name in unknown:
            label = checked_tokens(self.tokenizer, self.settings.template.format(name), "label")
            label, _ = limit(label, self.tokenizer.room(max_tokens), "error", "label")
            windows += self.tokenizer.single(label, max_tokens, stride)
        return EncodedZeroShot(windows, [tokens], [text], truncated, names, known, unknown)

    def reduce(self, output: Outputs) -> Outputs:
        """The mean in the place of the tokens, of which `decode` gives the same result.

        last_hidden_state: (tokens, width), then (1, width)
        """
        hidden = output["last_hidden_state"]
        return {"last_hidden_state": hidden.mean(axis=0, keepdims=True)}

    def decode(
        self,
        encoded: EncodedZeroShot,
        outputs: Sequence[Outputs],
        top_k: int = 1,
        threshold: float | None = None,
    ) -> Result:
        text_windows = len(outputs) - len(encoded.unknown)
        vectors = [_mean(output["last_hidden_state"]) for output in outputs]
        lengths = [len(window) for window in encoded.windows[:text_windows]]
        text = _unit(np.average(vectors[:text_windows], axis=0, weights=lengths))
        fresh = dict(zip(encoded.unknown, map(_unit, vectors[text_windows:]), strict=True))
        self._remember(fresh)
        known = {**encoded.known, **fresh}
        cosines = np.array([text @ known[name] for name in encoded.labels])
        least = self.settings.threshold if threshold is None else threshold
        return ranked(encoded.labels, softmax(cosines * self.settings.scale), top_k, least)

    def _known(self, names: Sequence[str]) -> dict[str, Vector]:
        with self._lock:
            found = {name: self._embeddings[name] for name in names if name in self._embeddings}
            for name in found:
                self._embeddings.move_to_end(name)
            return found

    def _remember(self, fresh: dict[str, Vector]) -> None:
        with self._lock:
            self._embeddings.update(fresh)
            while len(self._embeddings) > self.settings.cache_size:
                self._embeddings.popitem(last=False)


def _mean(hidden: NDArray[np.float32]) -> Vector:
    return np.asarray(hidden.mean(axis=0), np.float64)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))
