"""A checkpoint that writes: its summaries, and what it thinks of those that people wrote.

texts, losses = write_summaries(folder, rows)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from training.checkpoint import read_description
from training.metrics.perplexity import summary_losses
from training.models import load_model
from training.recipe import Recipe
from training.rows import Document
from training.seq2seq import generate


def write_summaries(
    folder: Path, rows: Sequence[Document]
) -> tuple[list[str], NDArray[np.float64]]:
    """Greedy summaries, as `metrics.json` has them; (rows, 2) of `summary_losses`."""
    description = read_description(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load_model(description.kind, folder)
    lengths = Recipe(
        name=description.model,
        kind=description.kind,
        max_tokens=description.max_tokens,
        max_target_tokens=int(description.decoding["max_new_tokens"]),
    )
    texts = generate(model, tokenizer, [row.text for row in rows], lengths)
    return texts, summary_losses(model, tokenizer, rows, lengths)
