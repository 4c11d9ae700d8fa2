"""Tiny encoder-decoders twice: as transformers models, and as the graphs that are served.

Their weights are random, so they write tokens without sense; noise on top makes what they write
depend on what they read. None of them would ever end by itself: cases take as end tokens some of
those that the model likes to write.
"""

from __future__ import annotations

import os
import random
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from export.quantize import to_int8
from export.to_onnx import to_onnx
from services.generate import Job
from services.generation.model import DECODER_NAME, ENCODER_NAME, Seq2SeqModel
from services.generation.settings import LEAST_PENALTY, MOST_PENALTY, GenerationSettings
from services.manifest import describe_files, write_manifest
from services.windows import TextTokenizer
from tests.services import tiny
from tests.tiny_bases import VOCABULARY
from training.models import load_model

# More random cases than the suite has time for: TRANSFER_GENERATE_CASES=5000 pytest ...
CASES = int(os.environ.get("TRANSFER_GENERATE_CASES", "0"))


@dataclass
class TinyWriter:
    """likes: the tokens that the model writes most, so that one of them can end what it writes."""

    torch_model: Any
    graphs: Path
    model: Seq2SeqModel
    likes: list[int]

    @property
    def start(self) -> int:
        start: int = self.torch_model.generation_config.decoder_start_token_id
        return start

    def expected(self, job: Job) -> list[int]:
        """What `transformers` writes for one job alone."""
        settings = job.settings
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unfeasible length constraints")
            written = self.torch_model.generate(
                input_ids=torch.tensor([list(job.source)]),
                attention_mask=torch.ones(1, len(job.source), dtype=torch.long),
                do_sample=False,
                eos_token_id=settings.eos_token_ids,
                forced_eos_token_id=settings.forced_eos_token_ids or None,
                forced_bos_token_id=settings.forced_bos_token_id,
                num_beams=settings.num_beams,
                max_new_tokens=settings.max_new_tokens,
                min_new_tokens=settings.min_new_tokens,
                length_penalty=settings.length_penalty,
                no_repeat_ngram_size=settings.no_repeat_ngram_size,
                early_stopping=settings.early_stopping,
            )
        tokens: list[int] = written[0, 1:].tolist()
        return tokens

    def random_source(self, rng: random.Random) -> list[int]:
        return [rng.randrange(5, VOCABULARY) for _ in range(rng.randint(1, 40))]

    def random_job(self, rng: random.Random, beams: int | None = None, **options: Any) -> Job:
        """A job with a random source and a random set of options."""
        most = rng.choice([1, 2, 8, 16, 24, 40])
        between = rng.uniform(LEAST_PENALTY, MOST_PENALTY)
        ends = rng.sample(self.likes, rng.choice([1, 2, 3]))
        chosen = {
            "decoder_start_token_id": self.start,
            "eos_token_ids": ends,
            "forced_bos_token_id": rng.choice([None, None, 0, 7]),
            "forced_eos_token_ids": rng.choice([[], [], ends[:1]]),
            "num_beams": beams or rng.choice([1, 1, 2, 3, 4, 6]),
            "max_new_tokens": most,
            "min_new_tokens": rng.choice([0, 0, 0, 2, 8, most]),
            "length_penalty": rng.choice([1.0, 0.0, 2.0, LEAST_PENALTY, MOST_PENALTY, between]),
            "no_repeat_ngram_size": rng.choice([0, 0, 1, 2, 3, 4]),
            "early_stopping": rng.choice([True, False, "never"]),
        }
        return Job(self.random_source(rng), GenerationSettings(**{**chosen, **options}))


def make_writer(base: Path, folder: Path, noise: float = 0.2) -> TinyWriter:
    torch.manual_seed(3)
    torch_model = load_model("seq2seq", base).eval()
    with torch.no_grad():
        for parameter in torch_model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    graphs = to_onnx(torch_model, "seq2seq", base / "tokenizer.json", folder)
    pad_id = torch_model.generation_config.pad_token_id
    writer = TinyWriter(torch_model, graphs, load_graphs(graphs, pad_id), [VOCABULARY - 1])
    writer.likes = _often_written(writer)
    return writer


def load_graphs(folder: Path, pad_id: int) -> Seq2SeqModel:
    encoder, decoder = (_session(folder / name) for name in (ENCODER_NAME, DECODER_NAME))
    return Seq2SeqModel(encoder, decoder, pad_id)


def int8_graphs(folder: Path, out: Path) -> Path:
    out.mkdir(parents=True)
    for name in (ENCODER_NAME, DECODER_NAME):
        to_int8(folder / name, out / name)
    return out


def _session(graph: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _often_written(writer: TinyWriter) -> list[int]:
    """The tokens that the model writes most when nothing ends it."""
    rng = random.Random(1)
    seen: Counter[int] = Counter()
    settings = GenerationSettings(writer.start, [VOCABULARY - 1], max_new_tokens=24)
    for _ in range(20):
        seen.update(writer.expected(Job(writer.random_source(rng), settings)))
    return [token for token, _ in seen.most_common(8)]


def write_variant(folder: Path, writer: TinyWriter, **changes: Any) -> Path:
    """A complete variant `story/full` that writes; `changes` replace fields of its manifest."""
    folder.mkdir(parents=True)
    for name in (ENCODER_NAME, DECODER_NAME, "tokenizer.json"):
        shutil.copy(writer.graphs / name, folder)
    pieces = TextTokenizer.load(folder / "tokenizer.json")
    assert pieces.pad_id == writer.torch_model.generation_config.pad_token_id
    decoding = {
        "decoder_start_token_id": writer.start,
        "eos_token_ids": writer.likes[:1],
        "max_new_tokens": 12,
        "num_beams": 2,
    }
    fields: dict[str, Any] = {
        "name": "story/full",
        "task": "summarize",
        "kind": "seq2seq",
        "model": "story",
        "variant": "full",
        "labels": [],
        "inputs": ["input_ids", "attention_mask"],
        "outputs": ["sequences"],
        "max_tokens": 32,
        "decoding": decoding,
        "files": describe_files(folder),
    }
    write_manifest(folder, tiny.manifest(**{**fields, **changes}))
    return folder
