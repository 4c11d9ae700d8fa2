"""An encoder-decoder's tokens a second against `transformers.generate` and CTranslate2.

In: a BART-shaped checkpoint (and the int8 graphs exported from it). Out: tokens a second, greedy
and with 4 beams, one document at a time and eight; how many tokens the engines agree on. Documents
are the sample reports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from load_tests.peers.absent import absent
from load_tests.peers.figures import Target, at_least, figure
from load_tests.peers.plan import Plan
from load_tests.peers.rounds import best, interleaved, ratios
from load_tests.samples import sample_items
from load_tests.worker import Worker
from services.errors import UsageError

Row = dict[str, Any]
Say = Callable[[str], None]

OURS, TRANSFORMERS, CTRANSLATE2 = "ours", "transformers", "ctranslate2"
SPLITS = ("1 x 2 threads", "2 x 1 threads")
BEAMS, BATCHES = (1, 4), (1, 8)
NEW_TOKENS = 48
MAX_SOURCE = 256
DOCUMENTS = 32
INT8_OPERATOR = b"MatMulInteger"  # what ONNX Runtime's dynamic quantization writes
TARGETS: dict[str, tuple[str, Target]] = {
    TRANSFORMERS: ("transformers.generate fp32", at_least(3.0, "x transformers.generate fp32")),
    CTRANSLATE2: ("CTranslate2 int8", at_least(0.5, "x CTranslate2 int8")),
}


def measure(plan: Plan, say: Say) -> Row:
    """Figures of the peers, and of ours where its graphs are given."""
    if plan.seq2seq is None or not (plan.seq2seq / "config.json").is_file():
        raise UsageError(
            f"--seq2seq names {plan.seq2seq}; expected the folder of a BART-shaped checkpoint.",
            "Give a folder with config.json, weights and tokenizer.",
        )
    folders: dict[str, Path] = {TRANSFORMERS: plan.seq2seq}
    left_out = absent("CTranslate2", "ctranslate2")
    if not left_out:
        folders |= {f"{CTRANSLATE2}, {split}": plan.seq2seq for split in SPLITS}
    if plan.seq2seq_onnx:
        folders |= {f"{OURS}, {split}": plan.seq2seq_onnx for split in SPLITS}
    documents = [body["text"] for body in sample_items("summarize", "", limit=DOCUMENTS)]
    precision = precision_of(plan.seq2seq_onnx) if plan.seq2seq_onnx else ""
    figures: list[Row] = []
    details: list[Row] = []
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker("load_tests.peers.generators")) for name in folders
        }
        sources = workers[TRANSFORMERS].ask(
            documents=documents, folder=str(plan.seq2seq), most=MAX_SOURCE
        )
        for beams in BEAMS:
            for batch in BATCHES:
                say(f"seq2seq: {beams} beam(s), {batch} document(s) at a time")
                request = {
                    "sources": sources,
                    "beams": beams,
                    "batch": batch,
                    "new_tokens": NEW_TOKENS,
                }
                detail = _observe(plan, workers, folders, request) | {"precision": precision}
                figures += figures_of(detail)
                details.append(detail)
    artifacts = {plan.seq2seq.name: _hashes(plan.seq2seq)}
    if plan.seq2seq_onnx:
        artifacts[plan.seq2seq_onnx.name] = _hashes(plan.seq2seq_onnx)
    told = [left_out] if left_out else []
    return {"figures": figures, "details": details, "artifacts": artifacts, "left_out": told}


def _observe(
    plan: Plan, workers: Mapping[str, Worker], folders: Mapping[str, Path], request: Row
) -> Row:
    written: dict[str, list[list[int]]] = {}

    def phase(name: str, seconds: float) -> float:
        seen = workers[name].ask(engine=name, folder=str(folders[name]), seconds=seconds, **request)
        written[name] = seen["written"]
        return float(seen["tokens_per_s"])

    for name in folders:
        phase(name, 0.0)  # load
    rates = interleaved(
        {name: (lambda name=name: phase(name, plan.seconds)) for name in folders}, plan.rounds
    )
    agreements = {name: agreement(written[TRANSFORMERS], ids) for name, ids in written.items()}
    asked = {name: request[name] for name in ("beams", "batch", "new_tokens")}
    return {**asked, "rates": rates, "agreements": agreements}


def agreement(expected: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> float:
    """Share of the tokens before the first other one, over all documents."""
    same = total = 0
    for one, other in zip(expected, written, strict=True):
        total += len(one)
        for a, b in zip(one, other, strict=False):
            if a != b:
                break
            same += 1
    return same / max(total, 1)


def figures_of(detail: Row) -> list[Row]:
    rates = detail["rates"]
    way = "greedy" if detail["beams"] == 1 else f"{detail['beams']} beams"
    place = f"{way}, {detail['batch']} document(s) at a time"
    rows = []
    own = {name: values for name, values in rates.items() if name.startswith(OURS)}
    if own:
        chosen = best(own)
        how = f"{chosen}; as fp32 for {detail['agreements'][chosen]:.0%} of the tokens"
        ours = f"seq2seq {detail['precision']}, {place}"
        rows.append(figure(ours, own[chosen], "tokens/s", how=how))
    for prefix, (words, target) in TARGETS.items():
        found = {name: values for name, values in rates.items() if name.startswith(prefix)}
        if not found:
            continue
        name = best(found)
        rows.append(figure(f"{words}, {place}", found[name], "tokens/s", how=name))
        if own:
            times = ratios(own[chosen], found[name])
            aimed = target if detail["precision"] == "int8" else None
            rows.append(figure(f"{ours}, to {words}", times, "x", aimed))
    return rows


def precision_of(folder: Path) -> str:
    """int8 when every graph of the folder multiplies in int8, else fp32; by their operators."""
    graphs = sorted(folder.glob("*.onnx"))
    if not graphs:
        raise UsageError(
            f"{folder} has no .onnx file; expected an encoder and a merged decoder.",
            "Give the folder that was exported from the checkpoint.",
        )
    quantized = all(INT8_OPERATOR in path.read_bytes() for path in graphs)
    return "int8" if quantized else "fp32"


def _hashes(folder: Path) -> Row:
    patterns = ("*.safetensors", "pytorch_model*.bin", "*.onnx")
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
