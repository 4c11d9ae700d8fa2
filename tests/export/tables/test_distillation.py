"""The table and the plot of distillation trials say what the record holds."""

from __future__ import annotations

from export.tables.distillation import plot, table, verdict


def row(factor, value, dev, against, gain, steps=100):
    def score(mean):
        return {"mean": mean, "ci_low": mean - 0.01, "ci_high": mean + 0.01}

    def difference(found):
        return {"value": found, "ci_low": found - 0.002, "ci_high": found + 0.002}

    return {
        "factor": factor,
        "value": value,
        "steps": steps,
        "dev": score(dev),
        "dev_against_recipe": difference(against),
        "test": score(0.93),
        "without_teacher": {"dev": score(dev - gain), "test": score(0.93 - gain)},
        "test_gain": difference(gain),
    }


def record(*rows):
    return {
        "model": "intent",
        "metric": "accuracy",
        "data": "made up",
        "n": {"dev": 3000, "test": 4500},
        "seeds": [7],
        "recipe": {"temperature": "2"},
        "teacher": {"dev": 0.957, "test": 0.954},
        "rows": [row("recipe", "as it is", 0.95, 0.0, 0.004), *rows],
    }


def test_each_trial_has_a_line_and_test_chose_nothing():
    found = table(record(row("alpha", "1", 0.953, 0.003, 0.001, 2345)))
    assert "test accuracy (chose nothing)" in found
    assert (
        "| alpha | 1 | 2,345 | 0.9530 | +0.0030 (+0.0010 to +0.0050) | 0.9520 | 0.9300 | "
        "+0.0010 (-0.0010 to +0.0030) |"
    ) in found
    assert "| recipe | as it is | 100 | 0.9500 |  |" in found
    assert "seed 7" in found and "teacher: dev 0.9570, test 0.9540" in found


def test_the_verdict_tells_luck_from_more():
    better = row("alpha", "1", 0.953, 0.003, 0.001)
    assert "alpha 1 is the best, by +0.0030: more than luck" in verdict(record(better))
    lucky = row("alpha", "1", 0.951, 0.001, 0.004)
    assert "which may be luck" in verdict(record(lucky))
    worse = row("alpha", "1", 0.94, -0.01, 0.004)
    assert verdict(record(worse)) == (
        "On dev nothing is better than the recipe. "
        "With its teacher 2 of 2 students beat their controls on test."
    )
    assert verdict(record()).startswith("With its teacher 1 of 1")


def test_differences_without_intervals_are_numbers_alone():
    plain = row("alpha", "1", 0.95, 0.003, 0.001)
    for name in ("dev_against_recipe", "test_gain"):
        plain[name] = {"value": 0.003, "ci_low": None, "ci_high": None}
    for name in ("ci_low", "ci_high"):
        plain["dev"][name] = None
    assert "| 0.9500 | +0.0030 | 0.9490 |" in table(record(plain))
    assert plot(record(plain)).count('class="interval"') == 1


def test_the_plot_shows_student_and_control_of_each():
    svg = plot(record(row("alpha", "1", 0.953, 0.003, 0.001)))
    assert ">alpha 1</text>" in svg and ">recipe as it is</text>" in svg
    assert svg.count("<circle") == 2 + 2 * 2
