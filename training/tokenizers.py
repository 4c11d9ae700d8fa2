"""A base's tokenizer in its fast form, with a padding token: what `tokenizer.json` is made of.

    tokenizer = load_tokenizer(base.path)
    save_tokenizer(base.path, out)        # as the service reads it

Bases that bring only a SentencePiece model (DeBERTa-v3, PEGASUS) are converted by transformers; a
decoder without a padding token (GPT-2) is padded with its end of text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from services.windows import TextTokenizer
from training.bases import BaseError

FILE = "tokenizer.json"


def load_tokenizer(source: Path) -> Any:
    """The fast tokenizer in `source`; raises BaseError where there is none and none can be made."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
    except Exception as error:  # transformers raises half a dozen unrelated types here
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _no_tokenizer(source, f"transformers cannot load it: {reason}") from error
    if not tokenizer.is_fast:
        raise _no_tokenizer(source, f"{type(tokenizer).__name__} has no fast form")
    if tokenizer.pad_token is None:
        _pad_with_the_end(tokenizer, source)
    return tokenizer


def save_tokenizer(source: Path, out: Path) -> TextTokenizer:
    """Copy the base's tokenizer in its fast form, so that `tokenizer.json` is always there."""
    tokenizer = load_tokenizer(source)
    tokenizer.save_pretrained(out)
    saved = TextTokenizer.load(out / FILE)
    if saved.pad_id == tokenizer.pad_token_id:
        return saved
    # The file itself must say what pads, where it is called neither [PAD] nor <pad>.
    pad_id, pad_token = tokenizer.pad_token_id, tokenizer.pad_token
    tokenizer.backend_tokenizer.enable_padding(pad_id=pad_id, pad_token=pad_token)
    tokenizer.save_pretrained(out)
    return TextTokenizer.load(out / FILE)


def _pad_with_the_end(tokenizer: Any, source: Path) -> None:
    """The end of text never stands inside a text, so it can be told from one when it pads."""
    if tokenizer.eos_token is None:
        raise _no_tokenizer(source, "it has neither a padding token nor an end of text")
    tokenizer.pad_token = tokenizer.eos_token


def pad_like(model: Any, pad_id: int) -> Any:
    """Tell `model` what pads, where its config leaves it open: a decoder that classifies reads the
    last token that is no padding."""
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = pad_id
    return model


def _no_tokenizer(source: Path, reason: str) -> BaseError:
    found = sorted(path.name for path in source.iterdir() if "token" in path.name) or ["none"]
    return BaseError(
        f"The tokenizer of {source} cannot be used ({reason}); found {', '.join(found)}, "
        f"expected {FILE}, or a vocabulary that transformers can convert to it.",
        f"Where {FILE} can be made, make it: `AutoTokenizer.from_pretrained(BASE).save_pretrained"
        "(FOLDER)` where sentencepiece is installed, and train with `base=FOLDER`.",
    )
