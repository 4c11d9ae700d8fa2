"""The card of an adapter for people: `README.md`, written from `card.json` and never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.adapter import read_record
from training.checkpoint import Description

LIMITS = {
    "sequence-classification": (
        "English only. It knows the classes below and nothing else; scores are not calibrated "
        "probabilities on texts unlike the training data."
    ),
    "question-answering": (
        "English only. It copies spans: it does not reason, count or combine sentences, and it was "
        "trained on encyclopedia paragraphs."
    ),
    "sentence-extraction": (
        "English only. It chooses sentences and never rewrites them; it was trained on abstracts "
        "of computer science papers, and other genres are new to it."
    ),
    "seq2seq": (
        "English only. It writes in its own words and may state what the text does not say: names "
        "and numbers of a summary must be checked against the text."
    ),
}


def card_text(adapter: Path, description: Description, card: Mapping[str, Any]) -> str:
    """Data, licence, recipe, metrics, seeds and limits, as Markdown."""
    size_mb = sum(path.stat().st_size for path in adapter.glob("*.safetensors")) / 1e6
    parts = [
        f"# {description.model}, {description.role}",
        description.description,
        _facts(description, card, read_record(adapter)["method"], size_mb),
        "## Quality",
        _quality(card),
        *_distillation(card),
        "## Limits",
        LIMITS[description.kind],
        "## Made by",
        _commands(description, read_record(adapter)["method"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(description: Description, card: Mapping[str, Any], method: str, size_mb: float) -> str:
    train = card["train"]
    rows = [
        ("base", f"{description.base['id']} ({description.base['sha256'][:16]})"),
        (
            "data",
            f"{description.attribution} ({description.licence}), {train['rows']} training rows",
        ),
        ("strategy", f"{train['strategy']}, seed {train['seed']}"),
        (
            "parameters",
            f"{train['parameters']:,}, of which {train['parameters_trained']:,} trained",
        ),
        (
            "training",
            f"{train['wall_time_s'] / 60:.0f} min on {train['threads']} CPU threads, "
            f"{train['tokens_per_s']:,} tokens/s",
        ),
        ("stored as", f"{method}, {size_mb:.1f} MB"),
        ("recipe digest", description.recipe_digest[:16]),
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def _quality(card: Mapping[str, Any]) -> str:
    lines = ["| precision | metric | value | 95 % interval | rows |", "|---|---|---|---|---|"]
    for precision, found in card["quality"].items():
        lines.append(
            f"| {precision} | {found['metric']} | {found['value']:.4f} | "
            f"{found['ci_low']:.4f} to {found['ci_high']:.4f} | {found['n']} |"
        )
    known = {"metric", "value", "ci_low", "ci_high", "n", "data"}
    extra = {k: v for k, v in card["quality"]["fp32"].items() if k not in known}
    loss = card["int8_loss"]
    lines += [
        "",
        f"int8 loses {loss['value']:.4f} ({loss['ci_low']:.4f} to {loss['ci_high']:.4f}, "
        "paired bootstrap) against fp32.",
    ]
    if extra:
        lines += ["", "Also: " + ", ".join(f"{k} {v:.4f}" for k, v in extra.items()) + "."]
    for name, found in card.get("baselines", {}).items():
        lines.append(f"Without training, {name}: {found['value']:.4f}.")
    return "\n".join(lines)


def _distillation(card: Mapping[str, Any]) -> list[str]:
    found = card.get("distillation")
    if not found:
        return []
    text = (
        f"Layers {found['student_layers']} of the teacher; {found['share_of_teacher']:.1%} of the "
        f"teacher's {found['teacher']['value']:.4f}."
    )
    if plain := found.get("without_teacher"):
        gain = found["gain_over_without_teacher"]
        verdict = "Distillation won" if found["distillation_won"] else "Distillation did not win"
        text += (
            f" The same student without its teacher, at equal steps: {plain['value']:.4f}. "
            f"{verdict} by {gain['value']:+.4f} ({gain['ci_low']:+.4f} to {gain['ci_high']:+.4f})."
        )
    return ["## Distillation", text]


def _commands(description: Description, method: str) -> str:
    place = f"adapters/{description.model}/{description.role}"
    rank = f" rank={method.removeprefix('svd-')}" if method.startswith("svd-") else ""
    return (
        'The commands under "Adapters" in docs/pipeline.md train the checkpoint again; then\n\n'
        f"    transfer pack CHECKPOINT {place} data=PATH{rank}"
    )
