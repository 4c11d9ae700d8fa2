"""Table, gains, examples and plot of grown generators (`training.studies.growing`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.plots.dots import Dot, dots
from training.studies.spread import why_fewer

Record = Mapping[str, Any]


def table(record: Record) -> str:
    """Scores, what is gained over what, and what each model writes, as Markdown."""
    lines = [
        "| way | ROUGE-1 | interval | ROUGE-2 | ROUGE-Lsum | perplexity | parameters | steps |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_line(row) for row in record["rows"]]
    gains = "; ".join(
        f"{gain['way']} over {gain['over']} {gain['value']:+.3f} "
        f"({gain['ci_low']:+.3f} to {gain['ci_high']:+.3f})"
        for gain in record["gains"]
    )
    rows = ", ".join(f"{way} {count:,}" for way, count in record["train_rows"].items())
    lines += [
        "",
        f"`{record['recipe']}`, {record['data']}; training rows: {rows}; {record['epochs']:g} "
        f"epochs; {record['rows'][0]['n']:,} test rows, greedy summaries, the best over a row's "
        "references. Perplexity is that of the first reference. Paired gains in ROUGE-1, 95 % "
        f"bootstrap intervals: {gains}. `scratch` has the shape of `grown`, `half` half of its "
        f"decoder, and learned from its summaries.{why_fewer(record)}",
    ]
    for example in record["examples"]:
        lines += ["", *(f"> {turn}  " for turn in example["text"].splitlines()), ""]
        lines += [f"- {way}: {text}" for way, text in example["written"].items()]
    return "\n".join(lines)


def _line(row: Record) -> str:
    perplexity = f"{row['perplexity']:.1f}" if "perplexity" in row else ""
    parameters = f"{row['parameters'] / 1e6:.1f} M" if "parameters" in row else ""
    steps = f"{row['steps']:,}" if "steps" in row else ""
    return (
        f"| {row['way']} | {row['value']:.3f} | {row['ci_low']:.3f} to {row['ci_high']:.3f} | "
        f"{row['rouge2']:.3f} | {row['rougeLsum']:.3f} | {perplexity} | {parameters} | {steps} |"
    )


def plot(record: Record) -> str:
    """ROUGE-1 with its interval, and ROUGE-2."""
    points = [
        Dot(row["way"], row["value"], row["ci_low"], row["ci_high"], row["rouge2"])
        for row in record["rows"]
    ]
    return dots(points, f"Summaries of {record['recipe']}", "ROUGE", ("ROUGE-1", "ROUGE-2"))
