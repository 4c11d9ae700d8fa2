"""A checkpoint on disk: weights, tokenizer, the resolved recipe, what it is, and its metrics.

    config.json model.safetensors tokenizer.json recipe.yaml checkpoint.json adapter/ metrics.json

`metrics.json` is written last: its existence means that the training finished. `adapter/` is there
for LoRA, in PEFT's own format; the weights beside it have it merged in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from services.errors import TransferError
from services.manifest import Base
from services.tasks.kinds import KINDS, Task, build_task
from services.windows import TextTokenizer
from training.bases import ResolvedBase
from training.evaluate import Evaluation, paired_loss
from training.models import count_parameters, unwrapped
from training.recipe import Recipe
from training.record import Fit

DESCRIPTION_NAME = "checkpoint.json"
METRICS_NAME = "metrics.json"
RECIPE_NAME = "recipe.yaml"
CONTROL = "without-teacher"  # folder of the same student trained without its teacher
FIT_NAME = "fit.json"
NOT_DECODING = ("labels", "max_tokens")  # have a place of their own


@dataclass(frozen=True)
class Description:
    """What a checkpoint is; everything that export needs besides the weights.

    role: "full" or "distilled"; parent: digest of the teacher's weights
    layers: the teacher's layers that a student kept
    pooling: what a classifier reads, see `training.pooling`
    """

    model: str
    kind: str
    task: str
    role: str
    base: dict[str, str]
    base_source: str
    recipe_digest: str
    labels: list[str]
    max_tokens: int
    decoding: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    layers: list[int] = field(default_factory=list)
    description: str = ""
    licence: str = ""
    attribution: str = ""
    summary_sentences: int = 3
    out_of_scope: str = ""
    pooling: str = ""


def describe(recipe: Recipe, base: ResolvedBase, labels: list[str], **changes: Any) -> Description:
    """A description of what `recipe` trains, before its decoding is chosen."""
    licence, attribution = recipe.credits
    values: dict[str, Any] = {
        "model": recipe.name,
        "kind": recipe.kind,
        "task": recipe.task,
        "role": "full",
        "base": asdict_base(base),
        "base_source": recipe.base,
        "recipe_digest": recipe.digest,
        "labels": labels,
        "max_tokens": recipe.max_tokens,
        "decoding": first_decoding(recipe),
        "description": recipe.description,
        "licence": licence,
        "attribution": attribution,
        "summary_sentences": recipe.summary_sentences,
        "out_of_scope": recipe.out_of_scope,
        "pooling": recipe.pooling,
    }
    return Description(**{**values, **changes})


def asdict_base(base: ResolvedBase) -> dict[str, str]:
    return {"id": base.id, "revision": base.revision, "sha256": base.sha256}


def first_decoding(recipe: Recipe) -> dict[str, Any]:
    if recipe.kind == "seq2seq":  # the model's own generation config says the rest
        return {"max_new_tokens": recipe.max_target_tokens}
    decoding: dict[str, Any] = {"stride": recipe.stride}
    if recipe.kind == "sequence-classification":
        decoding["multi_label"] = recipe.multi_label
    return decoding


def task_of(description: Description, tokenizer: TextTokenizer) -> Task:
    return build_task(
        description.kind,
        tokenizer,
        description.labels,
        description.max_tokens,
        description.decoding,
    )


def decoding_of(task: Task) -> dict[str, Any]:
    """The settings of a task that a checkpoint and a manifest store."""
    return {
        name: value for name, value in asdict(task.settings).items() if name not in NOT_DECODING
    }


def write_description(folder: Path, description: Description) -> None:
    write_json(folder / DESCRIPTION_NAME, asdict(description))


def read_description(folder: Path) -> Description:
    """Read `checkpoint.json`; raises TransferError when the folder is no finished checkpoint."""
    path = folder / DESCRIPTION_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TransferError(
            f"{folder} is not a checkpoint: {path.name} cannot be read ({error}).",
            "Make one with `transfer train RECIPE` or `transfer distill RECIPE`.",
            code="bad_checkpoint",
        ) from error
    unknown = set(values) - {item.name for item in fields(Description)}
    if unknown or values.get("kind") not in KINDS:
        raise TransferError(
            f"{path} does not fit: {sorted(unknown) or values.get('kind')!r}.",
            "Train the checkpoint again with this version.",
            code="bad_checkpoint",
        )
    return Description(**values)


def save_checkpoint(
    model: Any,
    description: Description,
    recipe: Recipe,
    tested: Evaluation,
    trained: Fit,
    rows: int,
    trainable: int,
    out: Path,
    extra: dict[str, Any],
) -> Path:
    """Write weights, recipe and description, and `metrics.json` last.

    rows: training rows; trainable: parameters that moved; extra: more parts of `metrics.json`
    """
    model.save_pretrained(out)
    recipe.save(out / RECIPE_NAME)
    write_description(out, description)
    shutil.rmtree(out / "steps", ignore_errors=True)
    record = {
        "test": {**tested.record(), "data": recipe.data_attribution or "test split"},
        "train": {
            **trained.record(),
            "rows": rows,
            "strategy": recipe.strategy,
            "seed": recipe.seed,
            "parameters": count_parameters(model),
            "parameters_trained": trainable,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
        **extra,
    }
    write_json(out / METRICS_NAME, record)
    return out


def merged(model: Any, out: Path, base_id: str) -> Any:
    """The plain transformers model; a LoRA adapter is kept beside it and merged in.

    base_id: what the adapter names as its base, instead of a folder of this machine
    """
    if unwrapped(model) is model:
        return model
    for config in model.peft_config.values():
        config.base_model_name_or_path = base_id
    # Embeddings never grow here; "auto" would ask the hub whether they did.
    model.save_pretrained(out / "adapter", save_embedding_layers=False)
    (out / "adapter" / "README.md").unlink()  # an empty form that names a folder of this machine
    return model.merge_and_unload()


def save_control(model: Any, trained: Fit, folder: Path) -> None:
    """Keep the weights and `fit.json` (written last), so that a resumed distillation reads them."""
    model.save_pretrained(folder)
    shutil.rmtree(folder / "steps", ignore_errors=True)
    write_json(folder / FIT_NAME, trained.record())


def comparison(
    recipe: Recipe, taught: Evaluation, teacher: Evaluation, plain: Evaluation | None, out: Path
) -> dict[str, Any]:
    """The part "distillation" of `metrics.json`: teacher, student and control on the same rows.

    plain: the control's score; None when it was not trained
    """
    record: dict[str, Any] = {
        "teacher": teacher.record(),
        "share_of_teacher": taught.value / teacher.value if teacher.value else 0.0,
        "temperature": recipe.temperature,
        "alpha": recipe.alpha,
        "hidden_weight": recipe.hidden_weight,
        "student_layers": recipe.student_layers,
    }
    if plain is not None:
        gain, low, high = paired_loss(taught, plain)
        trained = json.loads((out / CONTROL / FIT_NAME).read_text(encoding="utf-8"))
        record["without_teacher"] = {**plain.record(), **trained}
        record["gain_over_without_teacher"] = {"value": gain, "ci_low": low, "ci_high": high}
        record["verdict"] = verdict(record["gain_over_without_teacher"])
    return record


def verdict(gain: Mapping[str, float]) -> str:
    """What a gain says: "won", "lost", or "undecided" where its 95 % interval holds 0."""
    if gain["ci_low"] > 0:
        return "won"
    return "lost" if gain["ci_high"] < 0 else "undecided"


def base_of(description: Description) -> Base:
    return Base(**description.base)


def refuse_finished(out: Path) -> None:
    """No stage edits what is finished."""
    if (out / METRICS_NAME).is_file():
        raise TransferError(
            f"{out} already holds a finished checkpoint.",
            "Choose another folder with `out=DIR`, or remove this one.",
            code="exists",
        )


def write_json(path: Path, content: Any) -> None:
    """Write in one step, so that a reader never sees half of it."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)
