"""Each line of a dot plot shows its value, its interval, and what it is compared with."""

from __future__ import annotations

from xml.etree import ElementTree

from export.plots.dots import Dot, dots
from tests.export.plots.test_scatter import marks, names

FOUND = [Dot("a", 0.5), Dot("b < c", 0.7, 0.6, 0.8), Dot("d", 0.6, other=0.55)]


def test_further_right_is_more_and_the_first_is_at_the_top():
    svg = dots(FOUND, "t", "x", ("one", "two"))
    *_, a, b, other, d = marks(svg)
    assert a[0] < other[0] < d[0] < b[0]
    assert a[1] < b[1] < d[1] == other[1]


def test_names_are_escaped_and_the_legend_says_what_is_what():
    svg = dots(FOUND, "t", "x", ("one", "two"))
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert {"b < c", "one", "two", "t", "x"} <= set(texts)
    assert 'text-anchor="end"' in names(svg)["a"]


def test_only_what_has_an_interval_shows_one():
    assert dots(FOUND, "t", "x", ("one", "two")).count('class="interval"') == 1
