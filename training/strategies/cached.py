"""What a frozen encoder says of texts, computed once and kept on disk.

    states = encoder_states(model, kind, windows, pad_id, folder, identity)
    with replayed(model) as replay:          # the encoder is out of the way
        replay.states = states.batch([0, 5])
        model(...)

Only what the head reads is kept: the first token's state, the mean, or those of all tokens. The
file is named by what it depends on: the base's weights, the tokens, what is kept, the precision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from services.windows import Window
from training.features import stack
from training.models import TorchRunner, device_of, model_inputs
from training.pooling import CONFIG_KEY, MEAN

FIRST, ALL = "first", "all"  # MEAN is the third


@dataclass(frozen=True)
class States:
    """kept: FIRST, MEAN or ALL; vectors: (all kept tokens, width) float32; ends: (windows + 1,)"""

    kept: str
    vectors: NDArray[np.float32]
    ends: NDArray[np.int64]

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """(kept tokens, width) of one window."""
        return np.array(self.vectors[self.ends[index] : self.ends[index + 1]])

    def batch(self, indices: Sequence[int]) -> Tensor:
        """(windows, kept tokens, width)"""
        return stack([self[i] for i in indices], 0.0)

    def shown(self, windows: Sequence[Window]) -> list[Window]:
        """The windows as the head sees them: of one token, where one state is kept of each."""
        return list(windows) if self.kept == ALL else [_first_token(window) for window in windows]


def _first_token(window: Window) -> Window:
    return replace(window, input_ids=window.input_ids[:1], token_type_ids=window.token_type_ids[:1])


def encoder_states(
    model: Any,
    kind: str,
    windows: Sequence[Window],
    pad_id: int,
    folder: Path,
    identity: str,
    bf16: bool = False,
) -> States:
    """Run the encoder of `model` over all windows, unless `folder` holds what it said.

    identity: digest of the encoder's weights
    """
    kept = what_the_head_reads(model, kind)
    cache = folder / _key(windows, f"{identity}/{kept}/{bf16}")
    if not (cache / "done").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        runner = TorchRunner(model.base_model, "zero-shot", pad_id, bf16=bf16)
        found = [_kept(out["last_hidden_state"], kept) for out in runner(windows)]
        np.save(cache / "ends.npy", np.cumsum([0, *map(len, found)]))
        np.save(cache / "vectors.npy", np.concatenate(found).astype(np.float32))
        (cache / "done").touch()
    vectors = np.load(cache / "vectors.npy", mmap_mode="r")
    return States(kept, vectors, np.load(cache / "ends.npy"))


def _kept(hidden: NDArray[Any], kept: str) -> NDArray[Any]:
    if kept == MEAN:
        return np.asarray(hidden.mean(axis=0, keepdims=True))
    return hidden[:1] if kept == FIRST else hidden


def _key(windows: Sequence[Window], conditions: str) -> str:
    hasher = hashlib.sha256(conditions.encode())
    for window in windows:
        hasher.update(np.asarray([len(window), *window.input_ids], np.int32).tobytes())
        hasher.update(np.asarray(window.token_type_ids, np.int32).tobytes())
    return hasher.hexdigest()[:16]


def what_the_head_reads(model: Any, kind: str) -> str:
    """MEAN, FIRST or ALL; asked of the head: does it answer alike when all other tokens differ?"""
    if kind != "sequence-classification":
        return ALL
    if getattr(model.config, CONFIG_KEY, "") == MEAN:
        return MEAN
    training, device = model.training, device_of(model)
    model.eval()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 4, model.config.hidden_size, generator=generator)
    other = torch.randn(1, 4, model.config.hidden_size, generator=generator)
    other[:, 0] = hidden[:, 0]
    ones = torch.ones((1, 4), dtype=torch.long, device=device)
    inputs = {name: ones * 5 if name == "input_ids" else ones for name in model_inputs(model)}
    outputs = []
    with replayed(model) as replay, torch.inference_mode():
        for states in (hidden, other):
            replay.states = states.to(device)
            outputs.append(model(**inputs).logits)
    model.train(training)
    return FIRST if torch.equal(*outputs) else ALL


class Replay(nn.Module):
    """Stands where the encoder was and answers with `states`, of its own pooler pooled anew."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.pooler = getattr(encoder, "pooler", None)
        self.states = torch.empty(0)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        pooled = self.pooler(self.states) if self.pooler is not None else None
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=self.states, pooler_output=pooled
        )


@contextmanager
def replayed(model: Any) -> Iterator[Replay]:
    """The model without its encoder: it has the head's parameters alone."""
    encoder, prefix = model.base_model, model.base_model_prefix
    replay = Replay(encoder)
    setattr(model, prefix, replay)
    try:
        yield replay
    finally:
        setattr(model, prefix, encoder)
