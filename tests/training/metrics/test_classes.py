"""Per-class figures are scikit-learn's, with rows out of scope left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from training.metrics.classes import class_table, decide, headline, micro
from training.metrics.report import Ran

Classified = Callable[..., Ran]
LABELS = ["a", "b", "c"]


@pytest.fixture
def ran(classified: Classified) -> Ran:
    generator = np.random.default_rng(3)
    truth = [str(label) for label in generator.choice(LABELS, 60)]
    right = np.array([[label == name for name in LABELS] for label in truth])
    return classified(truth, (generator.normal(size=(60, 3)) + right).tolist())


def test_the_figures_of_one_label_are_scikit_learns(ran: Ran) -> None:
    decisions = decide(ran.task, ran.rows, ran.encoded, ran.outputs)
    truth = [row.labels[0] for row in ran.rows]
    said = np.array(LABELS)[decisions.scores.argmax(axis=1)]
    figures = headline(decisions)
    assert figures["accuracy"]["value"] == pytest.approx(accuracy_score(truth, said))
    for name, function in (
        ("macro_f1", f1_score),
        ("macro_precision", precision_score),
        ("macro_recall", recall_score),
    ):
        assert figures[name]["value"] == pytest.approx(function(truth, said, average="macro"))
    area = roc_auc_score(truth, decisions.scores, multi_class="ovr", average="macro")
    assert figures["auc"]["value"] == pytest.approx(area)
    assert figures["accuracy"]["ci_low"] < figures["accuracy"]["value"]
    assert figures["macro_f1"]["value"] < figures["macro_f1"]["ci_high"]


def test_every_class_has_its_line(ran: Ran) -> None:
    table = class_table(decide(ran.task, ran.rows, ran.encoded, ran.outputs))
    assert [row["label"] for row in table] == LABELS
    assert sum(row["n"] for row in table) == 60
    assert all(0 < row[name] < 1 for row in table for name in ("precision", "recall", "f1", "auc"))


def test_rows_out_of_scope_are_left_out(classified: Classified) -> None:
    ran = classified(["a", "b", "none"], [[3, 0, 0], [0, 3, 0], [0, 0, 3]], labels=["a", "b", "c"])
    decisions = decide(ran.task, ran.rows, ran.encoded, ran.outputs, "none")
    assert len(decisions.truth) == 2
    assert headline(decisions)["accuracy"]["value"] == 1.0


def test_a_class_that_never_occurs_has_no_auc_and_no_part_in_macro_f1(
    classified: Classified,
) -> None:
    ran = classified(["a", "b"], [[3, 0, 0], [0, 3, 0]])
    decisions = decide(ran.task, ran.rows, ran.encoded, ran.outputs)
    none = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "auc": None}
    assert class_table(decisions)[2] == {"label": "c", "n": 0, **none}
    assert headline(decisions)["macro_f1"]["value"] == 1.0
    assert headline(decisions)["auc"]["of_labels"] == 2


def test_several_labels_have_micro_samples_and_exact_figures(classified: Classified) -> None:
    ran = classified(
        [("a",), ("a", "b"), (), ("b", "c")],
        [[2, 2, -2], [2, 2, -2], [-2, -2, -2], [-2, 2, -2]],
        multi_label=True,
        threshold=0.5,
    )
    decisions = decide(ran.task, ran.rows, ran.encoded, ran.outputs)
    figures = headline(decisions)
    for average in ("macro", "micro"):
        expected = f1_score(decisions.truth, decisions.chosen, average=average, zero_division=0.0)
        assert figures[f"{average}_f1"]["value"] == pytest.approx(expected)
    assert figures["exact_match"]["value"] == 0.5
    assert figures["samples_f1"]["value"] == pytest.approx((2 / 3 + 1 + 1 + 2 / 3) / 4)
    assert micro(decisions).metric == "micro_f1"
