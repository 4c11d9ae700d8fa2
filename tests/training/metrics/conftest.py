"""A classifier whose logits are given, without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from services.tasks.classify import Classify, ClassifySettings
from services.windows import TextTokenizer
from training.evaluate import encode_row
from training.metrics.report import Ran
from training.rows import LabelledText


@pytest.fixture
def classified(tokenizer: TextTokenizer) -> Callable[..., Ran]:
    """classified(["a", "b"], [[2.0, 0], [0, 2]]): the truth of each row, and its logits."""

    def ran(
        truth: Sequence[str | tuple[str, ...]], logits: Sequence[Sequence[float]], **settings: Any
    ) -> Ran:
        task = Classify(tokenizer, ClassifySettings(**{"labels": ["a", "b", "c"], **settings}))
        rows = [LabelledText("x", (one,) if isinstance(one, str) else one) for one in truth]
        outputs = [[{"logits": np.array(row, np.float32)}] for row in logits]
        return Ran(task, rows, [encode_row(task, row) for row in rows], outputs)

    return ran
