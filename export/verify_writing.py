"""The build gate of models that write: do the graphs still write what torch writes?

Given the same text and the same tokens so far, the logits of the next token may differ by at most
1e-4 (`max_abs`). Left to themselves, the fp32 graphs write token for token what `transformers`
writes, the search included; int8 writes most of the same words, as the card says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from export.verify import MAX_ABS, GateError
from services.compare import summarize_agreement
from services.generation.settings import GenerationSettings
from services.manifest import Parity
from services.tasks.base import Outputs
from services.tasks.generate_summary import GenerateSummary
from services.windows import Window
from services.writer import Writer

Logits = NDArray[np.float32]

MOST_TOKENS = 24  # written for each row: a difference shows early, and a build shall not take long
FORCED_ROWS = 16  # of which the logits are compared
EXACT = 0.98  # share of rows; two hypotheses may be closer to each other than rounding is fine


class Writes(Protocol):
    """One model, whatever runs it."""

    def infer(self, windows: Sequence[Window]) -> list[Outputs]:
        """`sequences` of each window."""

    def logits(self, window: Window, tokens: Sequence[int]) -> Logits:
        """(tokens, vocabulary): what it would have written in place of each of `tokens`."""


class TorchWriter:
    """A transformers model."""

    def __init__(self, model: Any, settings: GenerationSettings) -> None:
        self.model = model.eval()
        self.settings = settings

    def infer(self, windows: Sequence[Window]) -> list[Outputs]:
        settings = self.settings
        found = []
        for window in windows:
            with torch.inference_mode():
                written = self.model.generate(
                    **_inputs(window),
                    do_sample=False,
                    decoder_start_token_id=settings.decoder_start_token_id,
                    eos_token_id=settings.eos_token_ids,
                    forced_bos_token_id=settings.forced_bos_token_id,
                    forced_eos_token_id=settings.forced_eos_token_ids or None,
                    num_beams=settings.num_beams,
                    max_new_tokens=settings.max_new_tokens,
                    min_new_tokens=min(settings.min_new_tokens, len(window)),
                    length_penalty=settings.length_penalty,
                    no_repeat_ngram_size=settings.no_repeat_ngram_size,
                    early_stopping=settings.early_stopping,
                )
            found.append({"sequences": written[0, 1:].numpy()})
        return found

    def logits(self, window: Window, tokens: Sequence[int]) -> Logits:
        so_far = torch.tensor([[self.settings.decoder_start_token_id, *tokens[:-1]]])
        with torch.inference_mode():
            found = self.model(**_inputs(window), decoder_input_ids=so_far).logits
        return np.asarray(found[0].float().numpy())


class GraphWriter:
    """A loaded variant."""

    def __init__(self, runtime: Writer) -> None:
        self.runtime = runtime
        self.start = verified_task(runtime).settings.decoder_start_token_id

    def infer(self, windows: Sequence[Window]) -> list[Outputs]:
        return self.runtime.infer(windows)

    def logits(self, window: Window, tokens: Sequence[int]) -> Logits:
        model = self.runtime.model
        memory = model.encode([window.input_ids])
        so_far = [self.start, *tokens[:-1]]
        return np.concatenate([model.step(np.array([token]), memory) for token in so_far])


def _inputs(window: Window) -> dict[str, Any]:
    ids = torch.tensor([window.input_ids])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def verified_task(runtime: Writer) -> GenerateSummary:
    """The task of a variant as it is verified: with a limit to what is written."""
    task = runtime.task
    assert isinstance(task, GenerateSummary)
    most = min(task.settings.max_new_tokens, MOST_TOKENS)
    return GenerateSummary(task.tokenizer, task.settings.replace(max_new_tokens=most))


def compare_writing(
    task: GenerateSummary, rows: Sequence[Any], reference: Writes, candidate: Writes, exact: bool
) -> Parity:
    """Largest difference of the logits, and how far both write the same about `rows`.

    exact: the agreement is the share of rows with the same tokens, else the mean F1 of the words
    """
    encoded = [task.encode(row.text) for row in rows]
    windows = [window for item in encoded for window in item.windows]
    expected, found = reference.infer(windows), candidate.infer(windows)
    forced = zip(windows[:FORCED_ROWS], expected, strict=False)
    largest = max(_logit_distance(reference, candidate, *one) for one in forced)
    same: list[float] = []
    flat = zip(expected, found, strict=True)
    for item in encoded:
        pairs = [next(flat) for _ in item.windows]
        if exact:
            same.append(float(all(map(_equal, *zip(*pairs, strict=True)))))
        else:
            one, other = (task.decode(item, outputs) for outputs in zip(*pairs, strict=True))
            same.append(summarize_agreement(one, other))
    return Parity(max_abs=largest, agreement=sum(same) / len(same), n=len(rows))


def _logit_distance(
    reference: Writes, candidate: Writes, window: Window, written: Outputs
) -> float:
    tokens = written["sequences"].tolist()
    distance = np.abs(reference.logits(window, tokens) - candidate.logits(window, tokens))
    return float(distance.max())


def _equal(one: Outputs, other: Outputs) -> bool:
    return bool(np.array_equal(one["sequences"], other["sequences"]))


def require_same_writing(name: str, parity: Parity) -> None:
    """Gate of the fp32 graphs; raises GateError."""
    if parity.max_abs > MAX_ABS or parity.agreement < EXACT:
        raise GateError(
            f"{name} differs from torch by {parity.max_abs:.1e} and writes the same about "
            f"{parity.agreement:.1%} of {parity.n} texts; expected {MAX_ABS:.0e} and {EXACT:.0%}.",
            "Report this with the output of `transfer doctor`.",
        )
