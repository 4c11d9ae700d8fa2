"""How tokens are chosen: `transformers`' `generate`, with its names and its meanings.

In a manifest under `decoding`; a request may replace some of it:

    settings = GenerationSettings.from_checkpoint(generation_config)
    settings.replace(num_beams=1, max_new_tokens=40)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from services.errors import UsageError

MAX_BEAMS = 16
# transformers' beam search gives no summary where a score falls below -1e9. At a penalty of -1 and
# 512 tokens that needs 3,800 nats a token; at -2 it needs 7.5, fewer than a model that guesses has.
LEAST_PENALTY, MOST_PENALTY = -1.0, 10.0
UNSET_MAX_LENGTH = 20  # what transformers writes where nobody chose a length

# What the searches here do not do, and the values beside None that ask for none of it.
UNSUPPORTED: dict[str, Any] = {
    "do_sample": False,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "penalty_alpha": None,
    "guidance_scale": 1.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "bad_words_ids": None,
    "force_words_ids": None,
    "constraints": None,
    "forced_decoder_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "stop_strings": None,
    "renormalize_logits": False,
}
SAME_NAME = (
    "decoder_start_token_id",
    "forced_bos_token_id",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "no_repeat_ngram_size",
)


@dataclass(frozen=True)
class GenerationSettings:
    """Greedy for one beam, else beam search. Lengths count written tokens, the end included.

    decoder_start_token_id: read by the decoder before the first token; not part of the output
    eos_token_ids: any of them ends a hypothesis
    forced_bos_token_id: the first token; forced_eos_token_ids: the last one at `max_new_tokens`
    no_repeat_ngram_size: so many tokens in a row are never written twice; 0 for no such rule
    length_penalty: a finished hypothesis scores log-probability / length ** length_penalty;
        below 0 short ones win
    early_stopping: True ends at `num_beams` finished hypotheses, False when the best open one
        would not win if it ended now, "never" when it cannot win at any length

    Raises UsageError for values that no search can use.
    """

    decoder_start_token_id: int = 0
    eos_token_ids: list[int] = dataclasses.field(default_factory=lambda: [1])
    forced_bos_token_id: int | None = None
    forced_eos_token_ids: list[int] = dataclasses.field(default_factory=list)
    num_beams: int = 1
    max_new_tokens: int = 128
    min_new_tokens: int = 0
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = 3
    early_stopping: bool | Literal["never"] = False

    def __post_init__(self) -> None:
        _require("num_beams", self.num_beams, 1, MAX_BEAMS)
        _require("max_new_tokens", self.max_new_tokens, 1)
        _require("min_new_tokens", self.min_new_tokens, 0)
        _require("length_penalty", self.length_penalty, LEAST_PENALTY, MOST_PENALTY)
        _require("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)
        if self.early_stopping not in (True, False, "never"):
            raise UsageError(
                f"early_stopping is {self.early_stopping!r}; expected true, false or 'never'.",
                "Correct it in the generation config, and export the checkpoint again.",
            )

    def replace(self, **changes: Any) -> Self:
        """These settings with what one request wants otherwise; None leaves a value as it is."""
        wanted = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **wanted)

    @classmethod
    def from_checkpoint(cls, config: Mapping[str, Any], **defaults: Any) -> Self:
        """What a checkpoint's generation config says; where it is silent, `defaults`, then ours.

        Ours differ from transformers' in two points: `no_repeat_ngram_size` is 3, since a small
        summarizer that is allowed to repeat itself does, and `max_new_tokens` is not 19. Raises
        UsageError for what the search here cannot do, rather than leave it out.
        """
        values = {**defaults, **_lengths(config)}
        values |= {name: config[name] for name in SAME_NAME if config.get(name) is not None}
        if not values.get("no_repeat_ngram_size"):  # transformers writes 0 where nobody chose
            values.pop("no_repeat_ngram_size", None)
        if "decoder_start_token_id" not in values:
            values["decoder_start_token_id"] = config["bos_token_id"]
        values["eos_token_ids"] = _list(config.get("eos_token_id"))
        values["forced_eos_token_ids"] = _list(config.get("forced_eos_token_id"))
        _refuse_unsupported(config)
        return cls(**values)


def _lengths(config: Mapping[str, Any]) -> dict[str, int]:
    """`max_length` and `min_length` count the start token too; the `new` ones go before them."""
    found: dict[str, int] = {}
    if config.get("max_length") not in (None, UNSET_MAX_LENGTH):
        found["max_new_tokens"] = config["max_length"] - 1
    if config.get("min_length"):
        found["min_new_tokens"] = max(config["min_length"] - 1, 0)
    for name in ("max_new_tokens", "min_new_tokens"):
        if config.get(name) is not None:
            found[name] = config[name]
    return found


def _list(ids: int | list[int] | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    asked = [name for name, off in UNSUPPORTED.items() if config.get(name) not in (None, off)]
    if asked:
        shown = ", ".join(f"{name}={config[name]!r}" for name in asked)
        raise UsageError(
            f"The generation config asks for {shown}; only greedy and beam search are served.",
            "Remove it from generation_config.json, or serve another checkpoint.",
        )


def _require(name: str, value: float, least: float, most: float = math.inf) -> None:
    if not least <= value <= most:
        expected = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
        raise UsageError(f"{name} is {value}; expected {expected}.", "Send another value.")
