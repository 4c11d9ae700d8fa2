"""Who is taken for whom, counted and drawn."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

from training.metrics.confusion import ABSTAINED, Confusion, confusion, picture
from training.metrics.report import Ran
from training.weak_spots import OUT_OF_SCOPE

Classified = Callable[..., Ran]


def counted(ran: Ran, out_of_scope: str = "") -> Confusion:
    return confusion(ran.task, ran.rows, ran.encoded, ran.outputs, out_of_scope)


def test_every_row_is_counted_once(classified: Classified) -> None:
    found = counted(classified(["a", "a", "b"], [[3, 0, 0], [0, 3, 0], [0, 3, 0]]))
    assert found.counts == {("a", "a"): 1, ("a", "b"): 1, ("b", "b"): 1}
    assert found.truths == found.said == ["a", "b", "c"]
    assert {cell["n"] for cell in found.record()["cells"]} == {1}


def test_abstentions_and_texts_out_of_scope_have_places_of_their_own(
    classified: Classified,
) -> None:
    logits = [[3, 0, 0], [0, 0, 0], [0, 0, 0], [0, 9, 0]]
    found = counted(classified(["a", "a", "x", "x"], logits, threshold=0.6), "x")
    assert found.counts == {
        ("a", "a"): 1,
        ("a", ABSTAINED): 1,
        (OUT_OF_SCOPE, ABSTAINED): 1,
        (OUT_OF_SCOPE, "b"): 1,
    }
    assert found.truths[-1] == OUT_OF_SCOPE and found.said[-1] == ABSTAINED


def test_the_picture_is_svg_with_the_numbers_of_few_classes(classified: Classified) -> None:
    found = counted(classified(["<a>", "<a>", "b"], [[3, 0], [0, 3], [0, 3]], labels=["<a>", "b"]))
    drawn = ElementTree.fromstring(picture(found, "tiny & small"))
    texts = [element.text for element in drawn.iter() if element.tag.endswith("}text")]
    assert {"tiny & small", "<a>", "b", "1"} <= set(texts)
    hints = [element.text for element in drawn.iter() if element.tag.endswith("}title")]
    assert "<a> said to be b: 1 of 2" in hints


def test_many_classes_are_drawn_small_and_without_numbers(classified: Classified) -> None:
    labels = [f"class {i}" for i in range(150)]
    logits = [[9.0 if i == j else 0.0 for j in range(150)] for i in range(150)]
    drawn = picture(counted(classified(labels, logits, labels=labels)), "many")
    width = float(ElementTree.fromstring(drawn).attrib["viewBox"].split()[2])
    assert width < 1400
    assert ">1<" not in drawn
