"""The pictures of a model."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from load_tests.report.plots import (
    memory_plot,
    overview,
    pareto_plot,
    rate_plot,
    stage_parts,
    stages_plot,
)
from tests.load_tests.records import VARIANTS, phase, record, row, tried

ROWS = record()["variants"]
PLOTS = (pareto_plot, rate_plot, memory_plot, stages_plot)


def marks(picture: str, state: str = "") -> set[str]:
    return {
        group.get("data-variant")
        for group in ET.fromstring(picture).iter("g")
        if group.get("data-variant") and f" {state}" in f" {group.get('class')}"
    }


def test_the_pareto_plot_draws_every_variant_and_the_dominated_ones_hollow() -> None:
    picture = pareto_plot(ROWS)
    assert marks(picture) == set(VARIANTS)
    assert marks(picture, "dominated") == {"distilled"}
    assert picture.count('class="interval"') == len(VARIANTS)


def test_more_memory_is_a_larger_area() -> None:
    circles = re.findall(r'data-variant="([^"]+)".*?<circle[^>]* r="([\d.]+)"', _attributes_first())
    radius = {variant: float(r) for variant, r in circles}
    assert (radius["full"] / radius["distilled-int8"]) ** 2 == pytest.approx(300 / 200, rel=0.03)


def _attributes_first() -> str:
    """Each group's attributes stand before its circle."""
    return pareto_plot(ROWS)


def test_what_is_not_valid_is_never_drawn() -> None:
    bad = row("distilled", scenarios={"single_stream": {"mixed": phase(valid=False)}})
    bad["rates"] = [tried(50.0, 5.0, valid=False)]
    rows = record(row("full"), bad)["variants"]
    assert marks(pareto_plot(rows)) == {"full"}
    assert "distilled" not in rate_plot(rows)
    assert "distilled" not in memory_plot(rows)


def test_rates_are_drawn_up_to_those_that_miss_the_target() -> None:
    picture = rate_plot(ROWS)
    assert "target 50 ms" in picture
    assert picture.count("confirmed</title>") == len(VARIANTS)
    assert picture.count("<circle") == 3 * len(VARIANTS)


def test_a_rate_far_over_the_target_leaves_the_plot_and_does_not_squeeze_it() -> None:
    rows = [row("full", rates=[tried(10.0, 5.0), tried(100.0, 90_000.0)])]
    picture = rate_plot(rows)
    assert picture.count("<circle") == 1


def test_the_stages_add_up_to_what_the_client_saw() -> None:
    for one in ROWS:
        assert sum(stage_parts(one).values()) == pytest.approx(one["stages_ms"]["client"])
    assert stages_plot(ROWS).count('class="stage') == 5 * len(VARIANTS) + 5


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_measured_is_no_picture(plot) -> None:
    assert plot([]) == ""
    assert plot([{"model": "intent", "variant": "full"}]) == ""


@pytest.mark.parametrize("plot", PLOTS)
def test_pictures_are_well_formed_and_named(plot) -> None:
    root = ET.fromstring(plot(ROWS, "a < b"))
    assert root.get("aria-label") == "a < b"


def test_the_picture_of_the_readme_stands_alone() -> None:
    text = overview(record(*ROWS, row("full", "reader")))
    root = ET.fromstring(text)
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme: dark" in text
    assert ">intent<" in text and ">reader<" in text
