"""Scales, labels and numbers of a plot."""

from __future__ import annotations

import pytest

from export.plots.labels import CHARACTER_PX, LINE_PX, Box, Named, place
from export.plots.svg import Scale, element, number

BOX = Box(0, 0, 500, 300)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_the_ends_of_a_scale_are_the_ends_in_pixels(logarithmic: bool) -> None:
    scale = Scale(2.0, 50.0, 10.0, 110.0, logarithmic)
    assert (scale(2.0), scale(50.0)) == (10.0, 110.0)
    assert scale(10.0) == pytest.approx(60.0) if logarithmic else scale(26.0) == 60.0


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 310, 0, 1), [0, 50, 100, 150, 200, 250, 300]),
        (Scale(94.1, 95.9, 0, 1), [94.5, 95.0, 95.5]),
        (Scale(0.9, 60, 0, 1, True), [1, 2, 5, 10, 20, 50]),
        (Scale(84, 210, 0, 1, True), [100, 150, 200]),
        (Scale(0.9, 60_000, 0, 1, True), [1, 10, 100, 1000, 10_000]),
    ],
)
def test_ticks_are_round_and_few(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


def test_text_cannot_break_out_of_an_attribute() -> None:
    assert element("a", title='"><b>') == '<a title="&quot;&gt;&lt;b&gt;"/>'


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0.5, 20.0, 1000.0, 1500.0)] == ["0.5", "20", "1k", "1.5k"]


def test_no_name_covers_another() -> None:
    points = [
        Named(100, 100, "distilled-int8"),
        Named(104, 103, "full-int8"),
        Named(470, 99, "full"),
    ]
    places = place(points, BOX)
    boxes = []
    for point, at in zip(points, places, strict=True):
        width = CHARACTER_PX * len(point.text)
        left = at.x if at.anchor == "start" else at.x - width
        assert left + width <= 500
        boxes.append((left, left + width, at.y))
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = one[1] <= other[0] or other[1] <= one[0]
            assert apart or abs(one[2] - other[2]) >= LINE_PX


def test_a_name_lies_over_no_mark_where_there_is_room():
    points = [Named(100, 100, "first"), Named(125, 100, "second"), Named(180, 100, "third")]
    for point, at in zip(points, place(points, BOX), strict=True):
        width = CHARACTER_PX * len(point.text)
        assert not any(at.hides(other, width) for other in points)
        assert abs(at.y - point.y) < 30


def test_names_without_room_are_placed_all_the_same():
    crowd = [Named(10, 10, "a name"), Named(10, 10, "b name"), Named(10, 10, "c name")]
    assert len(place(crowd, Box(0, 0, 500, 12))) == len(crowd)


def test_a_name_leaves_the_box_on_no_side():
    points = [Named(20, 50, "left, with much to say"), Named(400, 50, "right, with much to say")]
    left, right = place(points, BOX)
    assert (left.anchor, right.anchor) == ("start", "end")
