"""Words that become one token each: what a tokenizer and a model's embeddings gain together.

A speaker written `#Person1#` is four pieces for BERT. As one token a dialogue is a seventh shorter
and a summary that names a speaker twice repeats no three tokens, which beam search may forbid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import AddedToken

Pieces = dict[int, list[int]]  # id of a new token -> the ids that spelled it before


def add_tokens(tokenizer: Any, words: Sequence[str]) -> Pieces:
    """Teach `tokenizer` those words that it does not know; they are found as they are written."""
    known = tokenizer.get_added_vocab()
    spelled = {
        word: tokenizer(word, add_special_tokens=False).input_ids
        for word in words
        if word not in known
    }
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in spelled])
    return {tokenizer.convert_tokens_to_ids(word): pieces for word, pieces in spelled.items()}


def add_embeddings(model: Any, pieces: Mapping[int, Sequence[int]]) -> None:
    """A row for each new token, in the embeddings and the output layer: the mean of its pieces."""
    if not pieces:
        return
    rows = max(pieces) + 1
    if rows > model.get_input_embeddings().num_embeddings:  # some bases have rows to spare
        model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():  # tied weights are set twice, to the same
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            for row, spelled in pieces.items():
                layer.weight[row] = layer.weight[list(spelled)].mean(dim=0)
