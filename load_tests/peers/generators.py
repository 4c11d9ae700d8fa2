"""Tokens a second of three ways to write with the same BART-shaped weights, each on two cores.

In, as lines of JSON: {engine, folder, sources, beams, new_tokens, batch, seconds}; sources are
token ids. Out: {tokens_per_s, written}: ids that the first batch got. Every engine writes exactly
as many tokens as asked for, so that none gains by stopping early. Run by
`load_tests.peers.seq2seq`.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from load_tests.worker import answer_lines
from services.errors import UsageError

THREADS = 2

Ids = Sequence[Sequence[int]]
Write = Callable[[Ids, int, int], list[list[int]]]  # sources, beams, new tokens -> written


def transformers_fp32(folder: Path) -> Write:
    """`generate` of `transformers`, as its documentation shows it."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    torch.set_num_threads(THREADS)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    pad_id = model.config.pad_token_id

    def write(sources: Ids, beams: int, new_tokens: int) -> list[list[int]]:
        width = max(map(len, sources))
        ids = [[*source, *[pad_id] * (width - len(source))] for source in sources]
        mask = [[1] * len(source) + [0] * (width - len(source)) for source in sources]
        with torch.inference_mode():
            written = model.generate(
                input_ids=torch.tensor(ids),
                attention_mask=torch.tensor(mask),
                num_beams=beams,
                do_sample=False,
                min_new_tokens=new_tokens,
                max_new_tokens=new_tokens,
                no_repeat_ngram_size=0,
                length_penalty=1.0,
                early_stopping=False,
            )
        return [list(map(int, row)) for row in written[:, 1:].tolist()]

    return write


def ctranslate2_int8(folder: Path, intra_threads: int = THREADS) -> Write:
    """CTranslate2's translator on its own int8 conversion of the checkpoint."""
    import ctranslate2
    from transformers import AutoTokenizer

    converted = convert(folder)
    try:
        translator = ctranslate2.Translator(
            str(converted),
            device="cpu",
            compute_type="int8",
            inter_threads=THREADS // intra_threads,
            intra_threads=intra_threads,
        )
    finally:
        shutil.rmtree(converted)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def write(sources: Ids, beams: int, new_tokens: int) -> list[list[int]]:
        found = translator.translate_batch(
            [tokenizer.convert_ids_to_tokens(list(source)) for source in sources],
            beam_size=beams,
            min_decoding_length=new_tokens,
            max_decoding_length=new_tokens,
            length_penalty=1.0,
            max_input_length=0,
            # A batch stays with one translator: without this, two of them would use one core.
            max_batch_size=-(-len(sources) * intra_threads // THREADS),
        )
        return [tokenizer.convert_tokens_to_ids(one.hypotheses[0]) for one in found]

    return write


def convert(folder: Path) -> Path:
    """A temporary folder with the int8 conversion of a checkpoint; the caller removes it.

    The converter reads two things that a checkpoint need not have: `normalize_before` of the
    config, which transformers dropped, and the tokenizer's names for the start and the end.
    """
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="transfer-ct2-") as scratch:
        copy = Path(scratch) / "checkpoint"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("teacher", "steps"))
        config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
        config.setdefault("normalize_before", False)
        (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for name in ("bos", "eos"):
            if getattr(tokenizer, f"{name}_token") is None:
                named = tokenizer.convert_ids_to_tokens(config[f"{name}_token_id"])
                setattr(tokenizer, f"{name}_token", named)
        tokenizer.save_pretrained(copy)
        out = Path(tempfile.mkdtemp(prefix="transfer-ct2-"))
        TransformersConverter(str(copy)).convert(str(out), quantization="int8", force=True)
    return out


def ours(folder: Path, intra_threads: int = THREADS) -> Write:
    """`services.writer` on a variant as it is served; each call has `intra_threads` cores."""
    from concurrent.futures import ThreadPoolExecutor

    from services.generate import Job, generate
    from services.generation.model import DECODER_NAME, ENCODER_NAME, Seq2SeqModel
    from services.runtime import CPU, Runtime, open_session
    from services.tasks.generate_summary import GenerateSummary

    task = Runtime.load(folder).task
    if not isinstance(task, GenerateSummary):
        raise UsageError(
            f"{folder} is no model that writes.", "Give the variant of a BART-shaped checkpoint."
        )
    encoder, decoder = (
        open_session(folder / name, CPU, intra_threads) for name in (ENCODER_NAME, DECODER_NAME)
    )
    model = Seq2SeqModel(encoder, decoder, task.tokenizer.pad_id)
    calls = THREADS // intra_threads
    pool = ThreadPoolExecutor(calls)

    def write(sources: Ids, beams: int, new_tokens: int) -> list[list[int]]:
        settings = task.settings.replace(
            num_beams=beams,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            no_repeat_ngram_size=0,
            length_penalty=1.0,
            early_stopping=False,
        )
        jobs = [Job(source, settings) for source in sources]
        share = -(-len(jobs) // calls)
        parts = [jobs[at : at + share] for at in range(0, len(jobs), share)]
        written = pool.map(partial(generate, model), parts)
        return [list(tokens or ()) for part in written for tokens in part]

    return write


ENGINES: dict[str, Callable[[Path], Write]] = {
    "transformers": transformers_fp32,
    "ctranslate2, 1 x 2 threads": ctranslate2_int8,
    "ctranslate2, 2 x 1 threads": partial(ctranslate2_int8, intra_threads=1),
    "ours, 1 x 2 threads": ours,
    "ours, 2 x 1 threads": partial(ours, intra_threads=1),
}


def source_ids(folder: Path, documents: Sequence[str], most: int) -> list[list[int]]:
    """Token ids of documents, as the checkpoint's own tokenizer gives them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(list(documents), truncation=True, max_length=most)
    return [list(ids) for ids in encoded["input_ids"]]


class _Measurer:
    """What the worker process does: every engine loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str], Write] = {}

    def __call__(self, request: dict[str, Any]) -> Any:
        if "documents" in request:
            return source_ids(Path(request["folder"]), request["documents"], request["most"])
        key = (request["engine"], request["folder"])
        if key not in self._loaded:
            self._loaded[key] = ENGINES[key[0]](Path(key[1]))
        return rate(self._loaded[key], request)


def rate(write: Write, request: dict[str, Any]) -> dict[str, Any]:
    """Tokens a second in calls of `batch` sources, which are taken in turn, and the first ids."""
    beams, new_tokens, batch = request["beams"], request["new_tokens"], request["batch"]
    source = itertools.cycle(request["sources"])
    first = write(request["sources"][:batch], beams, new_tokens)
    tokens, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < request["seconds"]:
        written = write(list(itertools.islice(source, batch)), beams, new_tokens)
        tokens += sum(map(len, written))
    return {"tokens_per_s": tokens / elapsed, "written": first}


if __name__ == "__main__":
    answer_lines(_Measurer())
