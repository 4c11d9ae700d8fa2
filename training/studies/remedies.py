"""Imbalanced labels: what each remedy is worth, for rare labels and for frequent ones.

    transfer results imbalance data=clinc150/data_imbalanced.json

The same training but for one thing; the last step is scored. The rare labels are the third with
the fewest training rows. Recall is the mean over labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.metrics import recall_score

from services.windows import TextTokenizer
from training.checkpoint import read_description, task_of
from training.data import load_data
from training.evaluate import evaluate
from training.models import TorchRunner, load_model
from training.recipe import Recipe
from training.studies.finished import rows_digest
from training.studies.spread import seeds_of
from training.studies.study import Cell, Record, by_place, run_cells, summary

SEED = 7
SEEDS = 3
RARE = 1 / 3
REMEDIES: dict[str, dict[str, Any]] = {
    "none": {},
    "class weights, balanced": {"class_weights": "balanced"},
    "class weights, effective": {"class_weights": "effective"},
    "focal loss": {"focal_gamma": 2.0},
    "focal loss and balanced weights": {"focal_gamma": 2.0, "class_weights": "balanced"},
    "balanced sampling": {"sampling": "balanced"},
}


def measure_remedies(
    recipe: Recipe,
    work: Path,
    seeds: int = SEEDS,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run what is not finished below `work`; the record of all remedies."""
    splits = load_data(recipe)
    counts = Counter(row.labels[0] for row in splits["train"])
    counts.pop(recipe.out_of_scope, None)
    rare = rare_labels(counts)
    test = [row for row in splits["test"] if row.labels[0] != recipe.out_of_scope]
    cells = [
        Cell(
            {"way": name, "seed": SEED + i},
            replace(recipe, **options, seed=SEED + i, data_seed=recipe.rows_seed, evaluations=1),
            options=options,
        )
        for name, options in REMEDIES.items()
        for i in range(seeds)
    ]

    def look(checkpoint: Path) -> Record:
        return recalls(checkpoint, test, rare)

    records = run_cells(cells, work, rows_digest(splits), tell, look)
    more = ("recall_of_rare", "recall_of_others")
    return {
        "data": recipe.data_attribution or recipe.name,
        "base": recipe.base,
        "metric": records[0]["metric"],
        "n": records[0]["n"],
        "labels": len(counts),
        "rare": len(rare),
        "rows_of_rare": sorted({counts[label] for label in rare}),
        "rows_of_others": sorted({n for label, n in counts.items() if label not in rare}),
        **seeds_of([SEED + i for i in range(seeds)]),
        "strategy": recipe.strategy,
        "rows": [
            {"way": way, **summary(found, more)}
            for (way,), found in by_place(records, ("way",)).items()
        ],
    }


def rare_labels(counts: Counter[str]) -> set[str]:
    """The third of the labels that has the fewest rows, at least one."""
    ordered = sorted(counts, key=lambda label: (counts[label], label))
    return set(ordered[: max(1, round(RARE * len(ordered)))])


def recalls(checkpoint: Path, rows: Sequence[Any], rare: set[str]) -> Record:
    """Recall, mean over labels, of the rare ones and of the others."""
    description = read_description(checkpoint)
    task = task_of(description, TextTokenizer.load(checkpoint / "tokenizer.json"))
    infer = TorchRunner(
        load_model(description.kind, checkpoint), description.kind, task.tokenizer.pad_id
    )
    answers = evaluate(task, rows, infer).answers
    truth = [row.labels[0] for row in rows]
    others = sorted(set(truth) - rare)

    def recall(labels: Sequence[str]) -> float:
        return float(
            recall_score(truth, answers, labels=labels, average="macro", zero_division=0.0)
        )

    return {"recall_of_rare": recall(sorted(rare)), "recall_of_others": recall(others)}
