"""The card of an adapter for people: `README.md`, written from `card.json` and never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.adapter import read_record
from export.card_limits import probes_text, weak_spots_text
from training.checkpoint import Description, verdict

LIMITS = {
    "sequence-classification": (
        "English only. It knows its classes and nothing else; on texts unlike the training data "
        "its scores are worth less than the calibration above says."
    ),
    "question-answering": (
        "English only. It copies spans: it does not reason, count or combine sentences, and it was "
        "trained on encyclopedia paragraphs."
    ),
    "sentence-extraction": (
        "English only. It chooses sentences and never rewrites them; it knows the "
        "genres of the data above, and others are new to it."
    ),
    "seq2seq": (
        "English only. It writes in its own words and may state what the text does not say: names "
        "and numbers of a summary must be checked against the text."
    ),
}

VERDICTS = {
    "won": "Distillation won:",
    "lost": "Distillation lost:",
    "undecided": "These rows do not tell whether distillation helped:",
}
NO_METRIC = ("metric", "value", "ci_low", "ci_high", "n", "data")  # fields of a record


def card_text(adapter: Path, description: Description, card: Mapping[str, Any]) -> str:
    """Data, licence, recipe, metrics, calibration, seeds and limits, as Markdown."""
    size_mb = sum(path.stat().st_size for path in adapter.glob("*.safetensors")) / 1e6
    parts = [
        f"# {description.model}, {description.role}",
        description.description,
        _facts(description, card, read_record(adapter)["method"], size_mb),
        "## Quality",
        _quality(card),
        *_other_data(card),
        *_calibration(card),
        *_distillation(card),
        *_seeds(card),
        "## What it is bad at",
        LIMITS[description.kind],
        *weak_spots_text(card.get("weak_spots", {})),
        *probes_text(card.get("probes", [])),
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
            f"{train['tokens_per_s']:,} tokens/s{_since(train)}",
        ),
        ("stored as", f"{method}, {size_mb:.1f} MB"),
        ("recipe digest", description.recipe_digest[:16]),
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def _since(train: Mapping[str, Any]) -> str:
    """What of a training that was stopped and went on the figures are about."""
    resumed = train.get("resumed_step", 0)
    return f", from step {resumed:,} of {train['steps']:,} on" if resumed else ""


def _quality(card: Mapping[str, Any]) -> str:
    lines = ["| precision | metric | value | 95 % interval | rows |", "|---|---|---|---|---|"]
    for precision, found in card["quality"].items():
        lines.append(
            f"| {precision} | {found['metric']} | {found['value']:.4f} | "
            f"{found['ci_low']:.4f} to {found['ci_high']:.4f} | {found['n']} |"
        )
    extra = {k: v for k, v in card["quality"]["fp32"].items() if k not in NO_METRIC}
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


def _other_data(card: Mapping[str, Any]) -> list[str]:
    """Quality on rows besides the test split, beside what needs no training."""
    if not card.get("also"):
        return []
    parts = ["## On other data"]
    for found in card["also"].values():
        rows = {**found["quality"], **found["baselines"]}
        metrics = [name for name in next(iter(rows.values())) if name not in NO_METRIC]
        first = next(iter(rows.values()))["metric"]
        lines = [f"{found['data']}, {next(iter(rows.values()))['n']} rows:", ""]
        lines.append(f"| | {first} | 95 % interval | {' | '.join(metrics)} |")
        lines.append("|---" * (3 + len(metrics)) + "|")
        for name, one in rows.items():
            values = " | ".join(f"{one[m]:.4f}" if m in one else "-" for m in metrics)
            interval = f"{one['ci_low']:.4f} to {one['ci_high']:.4f}"
            lines.append(f"| {name} | {one['value']:.4f} | {interval} | {values} |")
        parts.append("\n".join(lines))
    return parts


def _calibration(card: Mapping[str, Any]) -> list[str]:
    if not card.get("calibration"):
        return []
    lines = [
        "Expected calibration error (15 bins) of the scores before and after they were calibrated "
        "on held-out rows; 0.02 means that a score is 2 points off on average.",
        "",
        "| precision | score of | scores | before | after |",
        "|---|---|---|---|---|",
    ]
    sets = {"": card["calibration"]}
    sets |= {f", {name}": found["calibration"] for name, found in card.get("also", {}).items()}
    for name, by_precision in sets.items():
        for precision, found in by_precision.items():
            for one in found:
                lines.append(
                    f"| {precision}{name} | {one['of']} | {one['n']:,} | {one['before']:.4f} | "
                    f"{one['after']:.4f} |"
                )
    return ["## Calibration", "\n".join(lines)]


def _distillation(card: Mapping[str, Any]) -> list[str]:
    found = card.get("distillation")
    if not found:
        return []
    text = (
        f"Layers {found['student_layers']} of the teacher; {found['share_of_teacher']:.1%} of the "
        f"teacher's {found['teacher']['value']:.4f}."
    )
    return ["## Distillation", f"{text} {_against_control(found)}"]


def _against_control(found: Mapping[str, Any]) -> str:
    if "without_teacher" not in found:
        return (
            "No control was trained, the same student without its teacher: what the teacher was "
            "worth is not known."
        )
    gain = found["gain_over_without_teacher"]
    return (
        "The same student without its teacher, at equal steps: "
        f"{found['without_teacher']['value']:.4f}. {VERDICTS[verdict(gain)]} "
        f"{gain['value']:+.4f} ({gain['ci_low']:+.4f} to {gain['ci_high']:+.4f}, paired "
        "bootstrap of the test rows, one seed)."
    )


def _seeds(card: Mapping[str, Any]) -> list[str]:
    found = card.get("seeds")
    if not found:
        return []
    told = [
        f"{part} {spread['mean']:.4f} (standard deviation {spread['std']:.4f})"
        for part, spread in found["parts"].items()
    ]
    return [
        f"Trained with {len(found['seeds'])} seeds on the same rows, {found['metric']} of the "
        f"checkpoints on test: {'; '.join(told)}."
    ]


def _commands(description: Description, method: str) -> str:
    place = f"adapters/{description.model}/{description.role}"
    rank = f" rank={method.removeprefix('svd-')}" if method.startswith("svd-") else ""
    return (
        'The commands under "Adapters" in docs/pipeline.md train the checkpoint again; then\n\n'
        f"    transfer pack CHECKPOINT {place} data=PATH{rank}"
    )
