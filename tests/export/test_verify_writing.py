"""The build gate of models that write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from export.verify import GateError
from export.verify_writing import compare_writing, require_same_writing
from services.manifest import Parity
from services.tasks.generate_summary import GenerateSummary, GenerateSummarySettings
from services.windows import TextTokenizer
from tests.tiny_bases import bart_tokenizer
from training.rows import Document

ROWS = [Document(("The pump failed.",)), Document(("A seal was worn.", "It was replaced."))]


@dataclass
class Scripted:
    """Writes one text about everything; its logits are all the same number."""

    text: str
    logit: float = 0.0

    def infer(self, windows: Sequence[Any]) -> list[dict[str, Any]]:
        ids = bart_tokenizer().encode(self.text, add_special_tokens=False).ids
        return [{"sequences": np.array(ids)} for _ in windows]

    def logits(self, window: Any, tokens: Sequence[int]) -> Any:
        return np.full((len(tokens), 5), self.logit, np.float32)


@pytest.fixture(scope="module")
def task() -> GenerateSummary:
    return GenerateSummary(TextTokenizer(bart_tokenizer()), GenerateSummarySettings(max_tokens=64))


def test_the_same_tokens_agree(task: GenerateSummary) -> None:
    parity = compare_writing(task, ROWS, Scripted("a pump"), Scripted("a pump"), exact=True)
    assert parity == Parity(max_abs=0.0, agreement=1.0, n=2)


def test_other_tokens_agree_in_their_words_at_most(task: GenerateSummary) -> None:
    one, other = Scripted("the pump failed", 1.0), Scripted("the pump stopped", 1.5)
    assert compare_writing(task, ROWS, one, other, exact=True).agreement == 0.0
    words = compare_writing(task, ROWS, one, other, exact=False)
    assert words.agreement == pytest.approx(2 / 3)
    assert words.max_abs == 0.5


def test_the_gate_of_fp32() -> None:
    require_same_writing("story/full", Parity(max_abs=9e-5, agreement=0.99, n=100))
    for parity in (Parity(2e-4, 1.0, 100), Parity(0.0, 0.97, 100)):
        with pytest.raises(GateError, match=r"story/full differs from torch by .* of 100 texts"):
            require_same_writing("story/full", parity)
