"""The plot is an SVG that shows every point at its place."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from export.plots.scatter import FRAME, Point, scatter

POINTS = [
    Point(0.5, 0.90, 0.89, 0.91, "svd-8", "svd"),
    Point(4.0, 0.95, 0.94, 0.96, "svd-64", "svd"),
    Point(90.0, 0.951, 0.945, 0.957, "whole <all>", "whole"),
]


def marks(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r' cx="(.+?)" cy="(.+?)"', svg)]


def names(svg: str) -> dict[str, str]:
    """Words of the plot -> the element they stand in."""
    return {name: tag for tag, name in re.findall(r"(<text [^>]*>)([^<]*)</text>", svg)}


def test_it_is_well_formed_and_names_every_point():
    svg = scatter(POINTS, "Ways", "megabytes", "accuracy")
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert {"Ways", "megabytes", "accuracy", "svd-8", "whole <all>"} <= set(texts)
    assert {"0.5", "1", "10", "100"} & set(texts) >= {"1", "10"}
    assert svg == scatter(POINTS, "Ways", "megabytes", "accuracy")


def test_larger_is_to_the_right_and_better_is_higher():
    small, middle, whole = marks(scatter(POINTS, "Ways", "x", "y"))
    assert small[0] < middle[0] < whole[0]
    assert small[1] > middle[1] > whole[1]


def test_one_series_has_one_colour_and_a_line():
    svg = scatter(POINTS, "Ways", "x", "y")
    assert [svg.count(f'class="series {colour}"') for colour in ("c0", "c1")] == [2, 1]
    assert svg.count('class="course c0"') == 1
    assert 'class="course c1"' not in svg


def test_one_point_alone_can_be_drawn():
    svg = scatter([Point(1, 0.5, 0.5, 0.5, "a", "a")], "t", "x", "y")
    assert len(marks(svg)) == 1
    assert 'class="interval"' not in svg


def test_a_name_that_would_leave_the_picture_stands_to_the_left():
    far = Point(100.0, 0.9, 0.9, 0.9, "a name that is rather long for this place", "ours")
    near = Point(1.0, 0.8, 0.8, 0.8, "near", "ours")
    texts = names(scatter([far, near], "Ways", "megabytes", "accuracy"))
    assert 'text-anchor="end"' in texts[far.name]
    assert 'text-anchor="end"' not in texts[near.name]


def test_the_legend_names_each_series_once_within_the_frame():
    texts = names(scatter(POINTS, "Ways", "x", "y", legend=True))
    places = [float(re.search(r' y="(.+?)"', texts[f"● {name}"])[1]) for name in ("svd", "whole")]
    assert FRAME.top < places[0] < places[1] < FRAME.y_end
