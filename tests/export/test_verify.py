"""The build gate: same outputs, same answers, and ties that may go either way."""

from __future__ import annotations

import re

import numpy as np
import pytest

from export.verify import (
    GateError,
    answer_of,
    compare,
    near_tie,
    require_agreement,
    require_parity,
)
from services.manifest import Parity
from services.runtime import Runtime
from services.tasks.kinds import build_task
from services.windows import TextTokenizer
from tests.services import tiny
from training.rows import Document, LabelledText, Question

TEXTS = ["send money please", "freeze my card", "what is my balance", "my card is stolen"]
ROWS = {
    "intent": [LabelledText(text, ("transfer_money",)) for text in TEXTS],
    "emotion": [LabelledText(text, ()) for text in ("i am happy", "angry", "thanks", "card")],
    "reader": [
        Question("1", "when", "the card is free on monday please", ()),
        Question("2", "where", "paris is my balance", ()),
    ],
    "highlights": [
        Document(("the card is free.", "important money.", "urgent bill.", "please.", "a card.")),
        Document(("thanks.", "urgent card.", "send the bill.", "important.")),
    ],
}
ONE_ANSWER = {"highlights": {"max_sentences": 1}}


def task(model: str, **decoding):
    job = tiny.JOBS[model]
    settings = {**job["decoding"], **decoding}
    tokenizer = TextTokenizer(tiny.tokenizer())
    return build_task(job["kind"], tokenizer, job["labels"], 64, settings)


def always(**outputs):
    """An `infer` whose outputs are the same for every window."""
    arrays = {name: np.array(values, np.float32) for name, values in outputs.items()}
    return lambda windows: [arrays for _ in windows]


def one(model: str, text: str, outputs: dict, **decoding):
    """(task, encoded, outputs) of a single text; a document's sentences are its words."""
    made = task(model, **decoding)
    if model == "reader":
        item = made.encode("when", [text])
    elif model == "highlights":
        item = made.encode(text, [match.span() for match in re.finditer(r"\w+", text)])
    else:
        item = made.encode(text)
    arrays = {name: np.array(values, np.float32) for name, values in outputs.items()}
    return made, item, [arrays for _ in item.windows]


@pytest.mark.parametrize("model", sorted(ROWS))
def test_a_graph_agrees_with_itself(model, tmp_path):
    runtime = Runtime.load(tiny.write_variant(tmp_path / model, model))
    parity = compare(runtime.task, ROWS[model], runtime.infer, runtime.infer)
    assert parity == Parity(max_abs=0.0, agreement=1.0, n=len(ROWS[model]))


@pytest.mark.parametrize("model", sorted(ROWS))
def test_a_changed_graph_is_found(model, tmp_path):
    job = tiny.JOBS[model]
    table = {word: tuple(-3 * x - 1 for x in row) for word, row in job["table"].items()}
    one_answer = {"decoding": {**job["decoding"], **ONE_ANSWER.get(model, {})}}
    good = Runtime.load(tiny.write_variant(tmp_path / "good", model, **one_answer))
    graph = job["make"](table)
    bad = Runtime.load(tiny.write_variant(tmp_path / "bad", model, graph=graph, **one_answer))
    parity = compare(good.task, ROWS[model], good.infer, bad.infer)
    assert parity.max_abs > 1
    assert parity.agreement < 1
    with pytest.raises(GateError):
        require_parity(model, parity)


def test_the_largest_difference_is_not_averaged_away():
    def spiked(windows):
        return [{"logits": np.array([9, 0, 0.5 * (i == 3)], np.float32)} for i in range(4)]

    parity = compare(task("intent"), ROWS["intent"], always(logits=[9, 0, 0]), spiked)
    assert parity.max_abs == pytest.approx(0.5)
    assert parity.agreement == 1.0


def test_agreement_is_the_share_of_rows():
    def last_differs(windows):
        return [{"logits": np.array([1, 2 * (i == 3), 0], np.float32)} for i in range(4)]

    parity = compare(task("intent"), ROWS["intent"], always(logits=[1, 0, 0]), last_differs)
    assert parity.agreement == 0.75


def test_either_of_two_labels_that_are_nearly_equal_will_do():
    reference, candidate = always(logits=[1, 1 + 1e-4, 0]), always(logits=[1 + 1e-4, 1, 0])
    assert compare(task("intent"), ROWS["intent"], reference, candidate).agreement == 1.0
    reference, candidate = always(logits=[1, 1.1, 0]), always(logits=[1.1, 1, 0])
    assert compare(task("intent"), ROWS["intent"], reference, candidate).agreement == 0.0


def test_a_score_at_its_threshold_is_a_near_tie_for_several_labels():
    barely = one("emotion", "card", {"logits": [1e-4, -4, -4]})
    clear = one("emotion", "card", {"logits": [0.1, -4, -4]})
    assert near_tie(*barely)
    assert not near_tie(*clear)


def test_overlapping_spans_of_equal_score_are_a_near_tie():
    starts, ends = [0, 0, 0, 5, 5 - 1e-5, 0, 0], [0, 0, 0, 0, 9, 0, 0]
    outputs = {"start_logits": starts, "end_logits": ends}
    made = one("reader", "the card is free", outputs)
    assert made[0].best_spans(made[1], made[2], top_k=2)[0].margin == pytest.approx(14)
    assert near_tie(*made)
    clear = {**outputs, "start_logits": [0, 0, 0, 5, 4, 0, 0]}
    assert not near_tie(*one("reader", "the card is free", clear))


def test_sentences_of_equal_score_are_a_near_tie_only_when_one_is_left_out():
    same = {"logits": [[1.0]] * 5}
    assert near_tie(*one("highlights", "card money bill", same, max_sentences=2))
    assert not near_tie(*one("highlights", "card money bill", same, max_sentences=3))


def test_label_names_of_equal_likeness_are_a_near_tie():
    made = task("zeroshot")
    item = made.encode("parcel", ["delivery", "courier"])
    same = [{"last_hidden_state": np.ones((len(w), 4), np.float32)} for w in item.windows]
    assert near_tie(made, item, same)
    turned = [*same[:2], {"last_hidden_state": same[2]["last_hidden_state"] * [[1, -1, 1, -1]]}]
    assert not near_tie(made, item, turned)


def test_answers_are_what_the_user_sees():
    assert answer_of(*one("intent", "card", {"logits": [0, 3, 1]})) == ("freeze_card",)
    assert answer_of(*one("emotion", "card", {"logits": [2, 3, -5]})) == ("anger", "joy")
    assert answer_of(*one("emotion", "card", {"logits": [-2, -3, -5]})) == ()
    starts = [0, 0, 0, 9, 0, 0, 0]
    spans = {"start_logits": starts, "end_logits": starts}
    assert answer_of(*one("reader", "the card is free", spans)) == (0, 0, 3)
    logits = {"logits": [[0], [1], [3], [2], [0]]}
    assert answer_of(*one("highlights", "card money bill", logits, max_sentences=2)) == (5, 11)


def test_parity_passes_at_the_limit_and_not_above():
    require_parity("intent/full", Parity(max_abs=1e-4, agreement=1.0, n=120))
    with pytest.raises(
        GateError, match=r"^intent/full differs from torch by 1.1e-04 .* 120 texts; expected 1e-04"
    ):
        require_parity("intent/full", Parity(max_abs=1.1e-4, agreement=1.0, n=120))
    with pytest.raises(GateError, match=r"agrees on 99.2% of 120 texts; expected 1e-04 and 100 %"):
        require_parity("intent/full", Parity(max_abs=0.0, agreement=119 / 120, n=120))


def test_agreement_is_asked_for_by_its_floor():
    require_agreement("intent/full-int8", Parity(max_abs=3.0, agreement=0.95, n=120), 0.95)
    with pytest.raises(
        GateError,
        match=r"^intent/full-int8 agrees with fp32 on 94.0% of 100 texts; expected at least 95.0%",
    ):
        require_agreement("intent/full-int8", Parity(max_abs=0.1, agreement=0.94, n=100), 0.95)


def test_a_gate_error_is_a_failure_with_a_next_step():
    with pytest.raises(GateError) as caught:
        require_agreement("intent/full-int8", Parity(max_abs=0.1, agreement=0.5, n=100), 0.95)
    assert caught.value.code == "gate"
    assert "transfer doctor" in caught.value.hint
