"""Probes are answered by the model when its card is written."""

from __future__ import annotations

import pytest
import yaml

from export.card_limits import probes_text, weak_spots_text
from export.probes import FIELDS, FOLDER, answer_probes, read_probes
from services.errors import ArtifactError
from tests.services import tiny


def probe(right, about="hard", **ask):
    return {"ask": ask, "right": right, "about": about}


@pytest.mark.parametrize(
    ("job", "asked", "says", "is_right"),
    [
        ("intent", probe("freeze_card", text="freeze my card"), "freeze_card", True),
        ("intent", probe(None, text="freeze my card"), "freeze_card", False),
        ("intent", probe(None, text="the a of"), None, True),
        ("emotion", probe(["joy", "anger"], text="happy and angry"), ["anger", "joy"], True),
        ("reader", probe("paris", question="where?", context="it is in paris"), "paris", True),
        ("reader", probe(None, question="where?", context="the a of my"), None, True),
        (
            "highlights",
            probe("the a of.", text="the a of. this is important."),
            "this is important.",
            False,
        ),
    ],
)
def test_what_the_model_says_stands_beside_what_is_right(tmp_path, job, asked, says, is_right):
    (found,) = answer_probes(tiny.write_variant(tmp_path / job, job), [asked])
    assert (found["says"], found["is_right"]) == (says, is_right)
    assert 0 <= found["score"] <= 1
    assert {name: found[name] for name in FIELDS} == asked


def test_a_model_without_probes_has_none(tmp_path):
    assert read_probes("nobody", tmp_path) == []
    assert answer_probes(tmp_path / "no variant is needed", []) == []


def test_a_probe_that_lacks_a_field_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("- {ask: {text: a}, right: b}")
    with pytest.raises(ArtifactError, match="is not a list of probes"):
        read_probes("x", tmp_path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_probes_that_ship_ask_what_their_model_is_asked(path):
    fields = {"reader": {"question", "context"}}.get(path.stem, {"text"})
    probes = read_probes(path.stem)
    assert len(probes) >= 3
    for one in probes:
        assert set(one["ask"]) == fields
        assert one["about"]
    assert yaml.safe_load(path.read_text()) == probes


def test_the_card_shows_questions_answers_and_reasons():
    shown = {"says": None, "score": 0.25, "is_right": False}
    table = probes_text(
        [{**probe("lyon", "far | away", question="Where?", context="x" * 500), **shown}]
    )
    assert "1 of 1 wrong" in table[0]
    line = table[0].splitlines()[-1]
    assert line.startswith("| Where?<br>xxx")
    assert line.endswith(" | nothing (0.25) | lyon | far \\| away |")
    assert len(line) < 250
    several = {**probe(["joy"], text="a|b\nc"), "says": [], "score": 0.5, "is_right": False}
    assert probes_text([several])[0].splitlines()[-1] == (
        "| a\\|b c | nothing (0.50) | joy | hard |"
    )
    assert probes_text([]) == []


def test_the_card_shows_where_the_errors_are():
    slices = [{"by": "class", "of": "plug", "n": 1030, "metric": "f1", "value": 0.5}]
    confused = [{"truth": "plug", "said": "lamp", "n": 6, "of": 1030}]
    table, told = weak_spots_text({"slices": slices, "confused": confused})
    assert "| class | plug | 1,030 | f1 | 0.500 |" in table
    assert told == "Most often taken for another: plug for lamp (6 of 1,030)."
    assert weak_spots_text({}) == []
