"""The two graphs of an encoder-decoder, in the layout that Optimum exports.

encoder_model          input_ids, attention_mask -> last_hidden_state
decoder_model_merged   input_ids, encoder_attention_mask, encoder_hidden_states,
                       past_key_values.*, use_cache_branch -> logits, present.*

The decoder is two graphs in one: the first step computes the keys and values of the source once,
every later step reads these, and one token. There is no position among its inputs (it counts what
is in the cache), so the rows of a batch start together. ONNX Runtime takes and gives arrays
without a copy: the cache grows by what the graph itself appends, and is never touched from here
unless rows move or leave. On CUDA it stays in the device's memory from step to step, and comes out
of it only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.binding import Graph, Value, on_device, to_host
from services.errors import ArtifactError

ENCODER_NAME = "encoder_model.onnx"
DECODER_NAME = "decoder_model_merged.onnx"
ENCODER_INPUTS = ["attention_mask", "input_ids"]
DECODER_INPUTS = ["encoder_attention_mask", "encoder_hidden_states", "input_ids"]
BRANCH = "use_cache_branch"
PAST, PRESENT = "past_key_values.", "present."
SOURCES = "sources"  # first dimension of what has one row for each source (`export.decoder_step`)

Floats = NDArray[np.float32]
# By input of the decoder: (rows, heads, positions, head size); an array, or on the device.
Cache = dict[str, Value]


@dataclass
class Memory:
    """What the decoder reads besides the next token; a row for each hypothesis.

    owners: (rows,) which of the sources each row is written about, in their order
    mask: (sources, source) 1 where a source has a token, 0 where it is padded
    hidden: (sources, source, width) the encoder's output, until the first step
    source: keys and values of the sources, from the first step on
    written: keys and values of the tokens written so far, a row for each hypothesis
    grouped: whether the decoder reads one row of `source` for all hypotheses about it; else
        these have one each, of `mask` and `hidden` too
    """

    owners: NDArray[np.intp]
    mask: NDArray[np.int64]
    hidden: Floats
    source: Cache = field(default_factory=dict)
    written: Cache = field(default_factory=dict)
    grouped: bool = False

    @property
    def rows(self) -> int:
        return len(self.owners)

    def select(self, rows: NDArray[np.intp]) -> None:
        """Go on with `rows`, each as often as it is named; copies only what changes.

        Where hypotheses move and every row keeps its source, only what they wrote is copied; where
        a source leaves, padding that the others do not need is dropped with it. Grouped, sources
        must have equally many rows, one source's after the other's.
        """
        if np.array_equal(rows, np.arange(self.rows)):
            return
        owners = self.owners[rows]
        if self.grouped:
            kept, owners = np.unique(owners, return_inverse=True)
            moved = len(kept) < len(self.mask)
        else:
            kept, moved = rows, not np.array_equal(owners, self.owners)
        if moved:
            self._select_sources(kept)
        self.owners = owners
        self.written = {
            name: to_host(value).take(rows, axis=0) for name, value in self.written.items()
        }

    def _select_sources(self, kept: NDArray[np.intp]) -> None:
        width = int(self.mask[kept].sum(axis=1).max())
        self.mask, self.hidden = self.mask[kept, :width], self.hidden[kept, :width]
        self.source = {name: to_host(value)[kept, :, :width] for name, value in self.source.items()}


class Seq2SeqModel:
    """Encoder and decoder as ONNX Runtime sessions; holds no state, so many may use it at once."""

    def __init__(self, encoder: Any, decoder: Any, pad_id: int) -> None:
        """encoder, decoder: sessions; raises ArtifactError for graphs of another layout."""
        self._encoder: Graph = on_device(encoder)
        self._decoder: Graph = on_device(decoder)
        self._pad_id = pad_id
        shapes = {node.name: node.shape for node in decoder.get_inputs()}
        past = [name for name in shapes if name.startswith(PAST)]
        _require_inputs("encoder", ENCODER_INPUTS, [node.name for node in encoder.get_inputs()])
        _require_inputs("decoder", [*DECODER_INPUTS, *past, BRANCH], list(shapes))
        self._source_names = [name for name in past if ".encoder." in name]
        self._written_names = [name for name in past if ".decoder." in name]
        self._heads = {name: (shapes[name][1], shapes[name][3]) for name in past}
        self._width = shapes["encoder_hidden_states"][2]
        self.grouped = shapes["encoder_attention_mask"][0] == SOURCES

    def encode(self, sources: Sequence[Sequence[int]]) -> Memory:
        """Read the sources (token ids with their special tokens), padded to the longest."""
        width = max(len(source) for source in sources)
        ids = np.full((len(sources), width), self._pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, source in enumerate(sources):
            ids[row, : len(source)] = source
            mask[row, : len(source)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask}
        hidden = self._encoder.run(["last_hidden_state"], feeds)[0]
        return Memory(np.arange(len(sources)), mask, hidden, grouped=self.grouped)

    def step(self, tokens: NDArray[np.int64], memory: Memory) -> Floats:
        """One more token for every row; returns (rows, vocabulary) logits, and grows `memory`."""
        first = not memory.source
        past = {**memory.source, **memory.written} if not first else self._nothing(memory.rows)
        names = self._written_names + (self._source_names if first else [])
        feeds = {
            "input_ids": np.ascontiguousarray(tokens[:, None]),
            "encoder_attention_mask": memory.mask,
            "encoder_hidden_states": memory.hidden,
            BRANCH: np.array([not first]),
            **past,
        }
        outputs = ["logits", *(name.replace(PAST, PRESENT) for name in names)]
        logits, *present = self._decoder.run(outputs, feeds, kept=outputs[1:])
        found = dict(zip(names, present, strict=True))
        memory.written = {name: found[name] for name in self._written_names}
        if first:
            memory.source = {name: found[name] for name in self._source_names}
            memory.hidden = np.zeros((len(memory.mask), 0, self._width), np.float32)
        last: Floats = logits[:, -1]
        return last

    def _nothing(self, rows: int) -> Cache:
        """An empty cache, which the branch of the first step takes and does not read."""
        return {
            name: np.zeros((rows, heads, 0, size), np.float32)
            for name, (heads, size) in self._heads.items()
        }


def _require_inputs(part: str, expected: Sequence[str], found: Sequence[str]) -> None:
    if sorted(expected) != sorted(found) or (part == "decoder" and len(expected) <= 4):
        raise ArtifactError(
            f"The {part} takes {', '.join(sorted(found))}; expected {', '.join(sorted(expected))}.",
            "Export the checkpoint again with this version.",
        )
