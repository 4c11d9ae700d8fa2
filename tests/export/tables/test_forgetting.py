"""The table and the plot of the ways to add classes say what the record holds."""

from __future__ import annotations

from export.tables.forgetting import plot, table, verdict


def row(way, replayed, after, new, dev):
    def score(mean):
        return {"mean": mean, "std": 0.0, "values": [mean]}

    interval = {part: [0.9, 0.97] for part in ("old_before", "old_after", "new", "all")}
    return {
        "way": way,
        "replayed_rows": replayed,
        "new_rows": 1000,
        "steps": 94,
        "n": {"old_before": 4200, "old_after": 4200, "new": 300, "all": 4500},
        "old_before": score(0.955),
        "old_after": score(after),
        "new": score(new),
        "all": score(0.95),
        "intervals": [interval],
        "old_loss": {
            "value": 0.955 - after,
            "ci_low": 0.95 - after,
            "ci_high": 0.96 - after,
        },
        "dev": {"old": 0.95, "new": 0.95, "all": dev},
    }


RECORD = {
    "model": "intent",
    "data": "made up",
    "old_classes": 140,
    "new_classes": 10,
    "seeds": [7],
    "rows": [
        row("new rows alone", 0, 0.5, 0.99, 0.53),
        row("distill, replay 5", 700, 0.94, 0.96, 0.941),
        row("every old row, one epoch", 14000, 0.955, 0.97, 0.956),
    ],
}


def test_each_way_has_a_line():
    found = table(RECORD)
    assert (
        "| distill, replay 5 | 700 | 94 | 0.9550 | 0.9400 | +0.0150 (+0.0100 to +0.0200) | "
        "0.9600 | 0.9500 | 0.9410 |"
    ) in found
    assert "10 classes with 1,000 rows added to 140" in found and "seed 7." in found


def test_the_verdict_leaves_out_the_way_that_needs_every_row():
    assert verdict(RECORD) == (
        "By all dev rows the best without every old row is distill, replay 5: on test the old "
        "classes lose 1.5 points and the new ones reach 96.0%; with new rows alone the old ones "
        "lose 45.5."
    )


def test_the_plot_shows_old_and_new_classes_of_each_way():
    svg = plot(RECORD)
    assert ">distill, replay 5</text>" in svg and svg.count("<circle") == 2 + 2 * 3
