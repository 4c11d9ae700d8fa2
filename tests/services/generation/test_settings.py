"""From a checkpoint's generation config to the settings of a variant, and of one request."""

from __future__ import annotations

import math
from typing import Any

import pytest
from transformers import GenerationConfig

from services.errors import UsageError
from services.generation.settings import GenerationSettings

# As published: facebook/bart-large-cnn, google-t5/t5-small, google/pegasus-xsum.
BART_CNN = {
    "bos_token_id": 0,
    "decoder_start_token_id": 2,
    "early_stopping": True,
    "eos_token_id": 2,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "length_penalty": 2.0,
    "max_length": 142,
    "min_length": 56,
    "no_repeat_ngram_size": 3,
    "num_beams": 4,
    "pad_token_id": 1,
}
T5 = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
PEGASUS = {
    **T5,
    "bos_token_id": 0,
    "forced_eos_token_id": 1,
    "length_penalty": 0.6,
    "max_length": 64,
    "num_beams": 8,
}


def settings(config: dict[str, Any], **defaults: Any) -> GenerationSettings:
    """From the config as `transformers` holds it, with every default written out."""
    return GenerationSettings.from_checkpoint(GenerationConfig(**config).to_dict(), **defaults)


def test_a_published_config_keeps_its_meaning() -> None:
    assert settings(BART_CNN) == GenerationSettings(
        decoder_start_token_id=2,
        eos_token_ids=[2],
        forced_bos_token_id=0,
        forced_eos_token_ids=[2],
        num_beams=4,
        max_new_tokens=141,
        min_new_tokens=55,
        length_penalty=2.0,
        no_repeat_ngram_size=3,
        early_stopping=True,
    )
    found = settings(PEGASUS)
    assert (found.num_beams, found.max_new_tokens, found.length_penalty) == (8, 63, 0.6)


def test_a_silent_config_gets_defaults_that_do_not_repeat() -> None:
    found = settings(T5)
    assert found == GenerationSettings(decoder_start_token_id=0, eos_token_ids=[1])
    assert found.no_repeat_ngram_size == 3
    assert settings(T5, max_new_tokens=96).max_new_tokens == 96
    assert settings({**T5, "max_new_tokens": 30}, max_new_tokens=96).max_new_tokens == 30


def test_several_end_tokens_and_a_start_from_bos() -> None:
    found = settings({"bos_token_id": 5, "eos_token_id": [1, 9]})
    assert (found.decoder_start_token_id, found.eos_token_ids) == (5, [1, 9])


@pytest.mark.parametrize(
    ("option", "value"),
    [("do_sample", True), ("repetition_penalty", 1.3), ("bad_words_ids", [[9]]), ("top", None)],
)
def test_what_is_not_served_is_refused_and_not_left_out(option: str, value: Any) -> None:
    if value is None:
        assert settings({**T5, option: value})
        return
    with pytest.raises(UsageError, match=f"asks for {option}="):
        settings({**T5, option: value})


def test_a_request_replaces_what_it_names() -> None:
    default = GenerationSettings(num_beams=4, length_penalty=2.0)
    assert default.replace(num_beams=1, max_new_tokens=None) == GenerationSettings(
        num_beams=1, length_penalty=2.0
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", 0),
        ("num_beams", 17),
        ("max_new_tokens", 0),
        ("min_new_tokens", -1),
        ("no_repeat_ngram_size", -1),
        ("length_penalty", -1.5),
        ("length_penalty", 11.0),
        ("length_penalty", math.nan),
        ("early_stopping", "sometimes"),
    ],
)
def test_impossible_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name} is {value!r}; expected"):
        GenerationSettings(**{name: value})


def test_a_checkpoint_whose_summaries_would_be_lost_is_refused() -> None:
    with pytest.raises(UsageError, match=r"length_penalty is -3.0; expected -1 to 10"):
        settings({**T5, "length_penalty": -3.0})
