"""The same job in PyTorch fp32 as most people would write it: `transformers.pipeline`, two threads.

In: a checkpoint folder (torch weights and tokenizer) and request bodies of one text each. Out:
latency, throughput and memory of a fresh process. `baseline` starts that process; by hand:

    python -m load_tests.baseline < request.json
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from load_tests.memory import tree_pss_mb
from load_tests.modules import LoadError, run_module
from load_tests.percentiles import summary
from load_tests.sampler import Sampler

Body = dict[str, Any]
Call = Callable[[Sequence[Body]], Any]

THREADS = 2
BATCHES = (1, 8)
WARM_UP = 24  # texts

# Settings that a manifest and `generate` call the same.
WRITING = (
    "num_beams",
    "max_new_tokens",
    "min_new_tokens",
    "length_penalty",
    "no_repeat_ngram_size",
    "early_stopping",
)


def baseline(
    kind: str,
    checkpoint: Path,
    bodies: Sequence[Body],
    *,
    seconds: float,
    seed: int = 0,
    **decoding: Any,
) -> dict[str, Any]:
    """latency_ms, throughput_rps and memory of PyTorch fp32 for one job, in process.

    Its memory is watched from outside, as that of a server is.

    kind: of the manifest (`services.registry.KINDS`)
    decoding: max_tokens, stride, multi_label, max_sentences, as the variant's manifest has them
    Raises LoadError when the checkpoint cannot be used, with the traceback's last lines.
    """
    if not (checkpoint / "config.json").is_file():
        raise LoadError(
            f"{checkpoint} has no config.json; the baseline needs a checkpoint of torch weights.",
            "Give the folder that `transfer train` wrote.",
        )
    request = {
        "kind": kind,
        "checkpoint": str(checkpoint),
        "bodies": list(bodies),
        "seconds": seconds,
        "decoding": decoding,
    }
    watched: list[Sampler] = []

    def watch(pid: int) -> Sampler:
        watched.append(Sampler(pid))
        return watched[0]

    raw = run_module("load_tests.baseline", request, 120 + 10 * seconds, watch)
    latencies = raw.pop("latencies_ms")
    # The sampler may have looked before and after the moment that the idle figure was taken at.
    peak_mb = max(watched[0].peak_mb, raw["idle_pss_mb"])
    memory = {"peak_pss_mb": peak_mb, "p95_pss_mb": watched[0].p95_mb}
    return {**raw, **memory, "latency_ms": summary(latencies, seed=seed)}


def observe(request: dict[str, Any]) -> dict[str, Any]:
    """Load, warm up and measure in this process."""
    import torch

    torch.set_num_threads(THREADS)
    started = time.perf_counter()
    call = CALLS[request["kind"]](request["checkpoint"], request["decoding"])
    bodies, seconds = request["bodies"], request["seconds"]
    with torch.inference_mode():
        for body in bodies[:WARM_UP]:
            call([body])
        ready_s = time.perf_counter() - started
        idle_mb = tree_pss_mb(os.getpid())
        latencies = _latencies_ms(call, bodies, seconds)
        rates = {size: throughput(call, bodies, seconds / 2, size) for size in BATCHES}
    best = max(rates, key=rates.__getitem__)
    return {
        "cold_start_s": ready_s,
        "idle_pss_mb": idle_mb,
        "latencies_ms": latencies,
        "throughput_rps": rates[best],
        "batch_size": best,
    }


def _latencies_ms(call: Call, bodies: Sequence[Body], seconds: float) -> list[float]:
    deadline = time.perf_counter() + seconds
    latencies = []
    for body in itertools.cycle(bodies):
        started = time.perf_counter()
        call([body])
        ended = time.perf_counter()
        latencies.append((ended - started) * 1000)
        if ended >= deadline:
            return latencies
    return latencies


def throughput(call: Call, bodies: Sequence[Body], seconds: float, batch: int) -> float:
    """Items a second in calls of `batch` items, which are taken in turn."""
    source = itertools.cycle(bodies)
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        call(list(itertools.islice(source, batch)))
        done += batch
    return done / elapsed


def text_classification(checkpoint: str, decoding: dict[str, Any]) -> Call:
    """`transformers.pipeline("text-classification")`."""
    from transformers import pipeline

    multi = decoding.get("multi_label", False)
    run = pipeline("text-classification", model=checkpoint, device="cpu")
    options = {
        "top_k": None if multi else 1,
        "function_to_apply": "sigmoid" if multi else "softmax",
        "truncation": True,
        "max_length": decoding["max_tokens"],
    }
    return lambda bodies: run([body["text"] for body in bodies], batch_size=len(bodies), **options)


def question_answering(checkpoint: str, decoding: dict[str, Any]) -> Call:
    """`transformers.pipeline("question-answering")`."""
    from transformers import pipeline

    run = pipeline("question-answering", model=checkpoint, device="cpu")
    options = {
        "handle_impossible_answer": True,
        "max_seq_len": decoding["max_tokens"],
        "doc_stride": decoding.get("stride", 128),
    }

    def call(bodies: Sequence[Body]) -> Any:
        questions = [body["question"] for body in bodies]
        contexts = [body["context"] for body in bodies]
        return run(question=questions, context=contexts, batch_size=len(bodies), **options)

    return call


def sentence_extraction(checkpoint: str, decoding: dict[str, Any]) -> Call:
    """No pipeline does this: the model, its tokenizer, the mean of each sentence's tokens."""
    import numpy as np
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from services.tasks.summarize import split_sentences

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForTokenClassification.from_pretrained(checkpoint).eval()
    wanted = decoding.get("max_sentences", 3)

    def best(text: str, scores: Any, offsets: Any) -> list[str]:
        bounds = split_sentences(text)
        starts, ends = offsets[:, 0], offsets[:, 1]
        inside = [(starts >= a) & (ends <= b) & (ends > starts) for a, b in bounds]
        means = [scores[mask].mean() if mask.any() else -np.inf for mask in inside]
        return [text[slice(*bounds[i])] for i in sorted(np.argsort(means)[-wanted:])]

    def call(bodies: Sequence[Body]) -> Any:
        texts = [body["text"] for body in bodies]
        encoded = tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=decoding["max_tokens"],
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        offsets = encoded.pop("offset_mapping").numpy()
        scores = model(**encoded).logits[:, :, 0].numpy()
        return [best(text, scores[i], offsets[i]) for i, text in enumerate(texts)]

    return call


def generated_summary(checkpoint: str, decoding: dict[str, Any]) -> Call:
    """`generate` of transformers, with the settings of the variant."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint).eval()
    options = {name: decoding[name] for name in WRITING if name in decoding}

    def call(bodies: Sequence[Body]) -> Any:
        texts = [body["text"] for body in bodies]
        encoded = tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=decoding["max_tokens"],
            return_token_type_ids=False,
            return_tensors="pt",
        )
        written = model.generate(**encoded, do_sample=False, **options)
        return tokenizer.batch_decode(written, skip_special_tokens=True)

    return call


def zero_shot(checkpoint: str, decoding: dict[str, Any]) -> Call:
    """Mean-pooled embeddings and their cosine with the labels', which are embedded once."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModel.from_pretrained(checkpoint).eval()
    known: dict[tuple[str, ...], Any] = {}

    def embed(texts: list[str]) -> Any:
        limit = decoding["max_tokens"]
        encoded = tokenizer(
            texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        mask = encoded["attention_mask"].unsqueeze(-1)
        hidden = model(**encoded).last_hidden_state
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)

    def call(bodies: Sequence[Body]) -> Any:
        labels = tuple(bodies[0]["labels"])
        if labels not in known:
            known[labels] = embed(list(labels))
        cosines = embed([body["text"] for body in bodies]) @ known[labels].T
        return [labels[i] for i in cosines.argmax(1)]

    return call


CALLS: dict[str, Callable[[str, dict[str, Any]], Call]] = {
    "sequence-classification": text_classification,
    "question-answering": question_answering,
    "sentence-extraction": sentence_extraction,
    "seq2seq": generated_summary,
    "zero-shot": zero_shot,
}


def main() -> None:
    answer = observe(json.load(sys.stdin))
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
