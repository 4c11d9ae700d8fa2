"""How surprised a generator is by the summaries that people wrote.

losses = summary_losses(model, tokenizer, rows, recipe)     # (rows, 2): summed loss, tokens
perplexity(losses)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import DataCollatorForSeq2Seq

from training.evaluate import Evaluation
from training.models import device_of
from training.recipe import Recipe
from training.rows import Document
from training.seq2seq import NO_TOKEN, Pairs


def summary_losses(
    model: Any, tokenizer: Any, rows: Sequence[Document], recipe: Recipe
) -> NDArray[np.float64]:
    """(rows, 2): the negative log-likelihood of the first reference in nats, and its tokens.

    The model reads each text, cut as in training, and the reference so far. Tokens are the
    model's own, the end included: perplexities of different vocabularies do not compare.
    """
    pairs = [(row.text, row.references[0]) for row in rows]
    data = Pairs(pairs, tokenizer, recipe, model.config.decoder_start_token_id)
    collate = DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=NO_TOKEN)
    found = np.zeros((len(rows), 2))
    training = model.training
    model.eval()
    order = sorted(range(len(data)), key=lambda i: -data.lengths[i])
    for start in range(0, len(order), recipe.batch_size):
        chosen = order[start : start + recipe.batch_size]
        batch = collate([data[i] for i in chosen]).to(device_of(model))
        labels = batch["labels"]
        with torch.inference_mode():
            logits = model(**batch, use_cache=False).logits.float()
        losses = functional.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=NO_TOKEN, reduction="none"
        )
        found[chosen, 0] = losses.sum(dim=1).cpu().numpy()
        found[chosen, 1] = (labels != NO_TOKEN).sum(dim=1).cpu().numpy()
    model.train(training)
    return found


def perplexity(losses: NDArray[np.float64]) -> dict[str, Any]:
    """e to the mean loss of a token, with a bootstrap interval over rows."""
    evaluation = Evaluation("perplexity", len(losses), lambda rows: _perplexity(losses[rows]), [])
    low, high = evaluation.interval()
    tokens = int(losses[:, 1].sum())
    return {"value": evaluation.value, "ci_low": low, "ci_high": high, "tokens": tokens}


def _perplexity(losses: NDArray[np.float64]) -> float:
    total, tokens = losses.sum(axis=0)
    return float(np.exp(total / max(tokens, 1.0)))
