"""The five pictures of a model, as SVG: only what was measured validly is drawn.

In: the rows of one model. Out: an `<svg>` element, or an empty text where there is nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from export.plots.labels import Box, Named, place
from export.plots.svg import (
    Frame,
    Scale,
    around,
    around_log,
    element,
    label,
    number,
    standalone,
    title,
)
from load_tests.report.pareto import place as place_of
from load_tests.report.record import phases_valid

Row = Mapping[str, Any]

LARGEST_PX, SMALLEST_PX = 15.0, 4.0
OVER_TARGET = 20.0  # times the target: higher latencies leave the plot
STAGES = ("queue", "tokenize", "infer", "decode")
REST = "rest"
BAR_PX, ROW_PX = 20, 32
VARIANT_STYLE = Path(__file__).with_name("variants.css").read_text(encoding="utf-8")


def pareto_plot(rows: Sequence[Row], name: str = "") -> str:
    """Quality against p99, memory as the area; dominated variants hollow, 95 % intervals drawn."""
    shown = [(row, at) for row in rows if (at := place_of(row)) and "pareto" in row]
    if not shown:
        return ""
    frame = Frame()
    x = frame.x_scale(*around_log(_p99_ends(shown), 0.12), logarithmic=True)
    y = frame.y_scale(*around([100 * end for end in _quality_ends(shown)]))
    metric = shown[0][0]["quality"]["metric"].replace("_", " ")
    parts = frame.axes(x, y, "p99 of one client, ms", f"{metric}, %")
    parts.append(_front(shown, x, y))
    most = max(row.get("peak_pss_mb", 0.0) for row, _ in shown)
    radii = [_radius(row.get("peak_pss_mb", 0.0), most) for row, _ in shown]
    spots = [
        Named(x(at[0]), y(100 * at[1]), row["variant"], r + 5)
        for (row, at), r in zip(shown, radii, strict=True)
    ]
    places = place(spots, frame.inside)
    for (row, _), spot, radius in zip(shown, spots, radii, strict=True):
        parts.append(_pareto_mark(row, spot, radius, x, y))
    for (row, _), spot, at in zip(shown, spots, places, strict=True):
        parts.append(label(at.x, at.y, spot.text, f"variant halo {row['variant']}", at.anchor))
    return frame.picture(parts, name or "Quality against p99", "pareto")


def _p99_ends(shown: Iterable[tuple[Row, Any]]) -> list[float]:
    found = []
    for row, (p99, _) in shown:
        found += [p99, *row["latency_ms"].get("ci", {}).get("p99", ())]
    return found


def _quality_ends(shown: Iterable[tuple[Row, Any]]) -> list[float]:
    found = []
    for row, (_, value) in shown:
        found += [value, *_quality_ci(row)]
    return found


def _quality_ci(row: Row) -> list[float]:
    ends = [row["quality"].get(name) for name in ("ci_low", "ci_high")]
    return [float(end) for end in ends if end is not None]


def _radius(memory_mb: float, most: float) -> float:
    """The area is in proportion to the memory."""
    return max(SMALLEST_PX, LARGEST_PX * math.sqrt(memory_mb / most)) if most else SMALLEST_PX


def _pareto_mark(row: Row, spot: Named, radius: float, x: Scale, y: Scale) -> str:
    bars = []
    if len(ends := _quality_ci(row)) == 2:
        bars.append(f"M{spot.x:.1f} {y(100 * ends[0]):.1f}V{y(100 * ends[1]):.1f}")
    if ends := row["latency_ms"].get("ci", {}).get("p99"):
        bars.append(f"M{x(ends[0]):.1f} {spot.y:.1f}H{x(ends[1]):.1f}")
    memory = f", {row['peak_pss_mb']:.0f} MB" if "peak_pss_mb" in row else ""
    words = (
        f"{row['variant']}: {100 * row['quality']['value']:.1f} %, "
        f"p99 {row['latency_ms']['p99']:.2f} ms{memory}"
    )
    inside = [title(words)]
    inside += [element("path", class_="interval", d=" ".join(bars))] if bars else []
    inside.append(element("circle", class_="dot", cx=spot.x, cy=spot.y, r=radius))
    state = "best" if row["pareto"] else "dominated"
    return element(
        "g",
        "".join(inside),
        class_=f"variant {row['variant']} {state}",
        data_variant=row["variant"],
        data_pareto=str(row["pareto"]).lower(),
    )


def _front(shown: Sequence[tuple[Row, tuple[float, float]]], x: Scale, y: Scale) -> str:
    """Steps from the fastest to the best."""
    best = sorted(at for row, at in shown if row["pareto"])
    path = f"M{x(best[0][0]):.1f} {y(100 * best[0][1]):.1f}"
    for p99, quality in best[1:]:
        path += f"H{x(p99):.1f}V{y(100 * quality):.1f}"
    return element("path", class_="front", d=path)


def rate_plot(rows: Sequence[Row], name: str = "") -> str:
    """p99 against the rate of an open loop; the dashed line is the target, the ring what held."""
    courses = {row["variant"]: _tried(row) for row in rows}
    courses = {variant: tried for variant, tried in courses.items() if tried}
    if not courses:
        return ""
    target = next(row["slo"]["p99_ms"] for row in rows if row.get("slo"))
    frame = Frame()
    every = [one for tried in courses.values() for one in tried]
    rates = [one.rate for one in every]
    highs = [min(one.p99, OVER_TARGET * target) for one in every]
    x = frame.x_scale(*around_log(rates), logarithmic=True)
    y = frame.y_scale(*around_log([*highs, target]), logarithmic=True)
    parts = frame.axes(x, y, "requests a second that were due", "p99, ms")
    parts.append(element("path", class_="target", d=f"M{frame.left} {y(target):.1f}H{frame.x_end}"))
    parts.append(
        label(frame.left + 6, y(target) - 5, f"target {number(target)} ms", "target-name halo")
    )
    ends = []
    for variant, tried in courses.items():
        searched = [(x(one.rate), y(min(one.p99, y.high))) for one in tried if not one.confirms]
        parts.append(_course(variant, searched))
        parts += [_rate_mark(variant, one, x, y) for one in tried if one.p99 <= y.high]
        first = tried[0]
        ends.append(Named(x(first.rate) - 9, y(min(first.p99, y.high)) - 13, variant, 9))
    parts += _names(ends, frame)
    return frame.picture(parts, name or "p99 against rate", "rates")


class Tried(NamedTuple):
    """confirms: a second, longer run; met: its p99 was within the target"""

    rate: float
    p99: float
    confirms: bool
    met: bool


def _tried(row: Row) -> list[Tried]:
    """The valid runs by rate."""
    return [
        Tried(one["rate"], one["latency_ms"]["p99"], one["confirms"], one["met"])
        for one in row.get("rates", ())
        if one["valid"] and "latency_ms" in one
    ]


def _rate_mark(variant: str, one: Tried, x: Scale, y: Scale) -> str:
    held = one.confirms and one.met
    words = f"{variant}: {one.rate:,.0f} requests/s, p99 {one.p99:.1f} ms"
    words += ", confirmed" if held else ", not confirmed" if one.confirms else ""
    spot = {"cx": x(one.rate), "cy": y(one.p99), "r": 5.5 if held else 3.0}
    dot = element("circle", title(words), class_="dot", **spot)
    return element("g", dot, class_=f"variant {variant}")


def memory_plot(rows: Sequence[Row], name: str = "") -> str:
    """PSS of the server's process tree through all phases."""
    courses = {
        row["variant"]: row["memory"]
        for row in rows
        if len(row.get("memory", ())) > 1 and phases_valid(row)
    }
    if not courses:
        return ""
    frame = Frame(right=112)
    x = frame.x_scale(0, max(course[-1][0] for course in courses.values()))
    y = frame.y_scale(0, 1.08 * max(mb for course in courses.values() for _, mb in course))
    parts = frame.axes(x, y, "seconds of load tests", "PSS, MB")
    ends = []
    for variant, course in courses.items():
        parts.append(_course(variant, [(x(t), y(mb)) for t, mb in course]))
        last = course[-1]
        ends.append(Named(x(last[0]), y(last[1]), variant, 6))
    parts += _names(ends, frame, frame.inside._replace(right=frame.width))
    return frame.picture(parts, name or "Memory over time", "memory")


def stages_plot(rows: Sequence[Row], name: str = "") -> str:
    """Where a request's time goes, stage after stage, at the highest rate that holds."""
    shown = [(row, parts) for row in rows if (parts := stage_parts(row))]
    if not shown:
        return ""
    frame = Frame(height=74 + ROW_PX * len(shown), left=104, top=34)
    x = frame.x_scale(0, 1.1 * max(sum(parts.values()) for _, parts in shown))
    parts = [_stage_key(frame), *frame.x_ticks(x)]
    middle = (frame.left + frame.x_end) / 2
    parts.append(label(middle, frame.height - 6, "mean of a request, ms", "name", "middle"))
    for index, (row, stages) in enumerate(shown):
        top = frame.top + 6 + ROW_PX * index
        words = row["variant"]
        parts.append(label(frame.left - 8, top + 14, words, f"variant {words}", "end"))
        parts += _stage_bars(stages, x, top)
    return frame.picture(parts, name or "Stages of a request", "stages")


def stage_parts(row: Row) -> dict[str, float]:
    """Mean ms of each stage, and the rest: HTTP, waiting to be read, the client."""
    seen = row.get("stages_ms")
    if not seen:
        return {}
    stages = {name: seen[name] for name in STAGES if name in seen}
    return {**stages, REST: max(0.0, seen["client"] - sum(stages.values()))}


def _stage_bars(stages: Mapping[str, float], x: Scale, top: float) -> list[str]:
    parts, began = [], 0.0
    for stage, ms in stages.items():
        left, right = x(began), x(began + ms)
        words = f"{stage}: {ms:.2f} ms"
        parts.append(
            element(
                "rect",
                title(words),
                class_=f"stage {stage}",
                x=left,
                y=top,
                width=right - left,
                height=BAR_PX,
            )
        )
        began += ms
    total = label(x(began) + 5, top + 14, f"{began:.1f}", "tick")
    return [*parts, total]


def _stage_key(frame: Frame) -> str:
    parts, x = [], float(frame.left)
    for stage in (*STAGES, REST):
        parts.append(element("rect", class_=f"stage {stage}", x=x, y=8, width=11, height=11))
        parts.append(label(x + 15, 18, stage, "tick"))
        x += 15 + 6.5 * len(stage) + 14
    return "".join(parts)


def _course(variant: str, points: Sequence[tuple[float, float]]) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    line = element("path", class_="course", d=f"M{path}")
    return element("g", line, class_=f"variant {variant}")


def _names(ends: Sequence[Named], frame: Frame, box: Box | None = None) -> list[str]:
    places = place(ends, box or frame.inside)
    return [
        label(at.x, at.y, end.text, f"variant halo {end.text}", at.anchor)
        for end, at in zip(ends, places, strict=True)
    ]


def overview(record: Mapping[str, Any]) -> str:
    """The picture of the README: the Pareto plot of every model, as a file of its own."""
    found = []
    for model in dict.fromkeys(row["model"] for row in record["variants"]):
        rows = [row for row in record["variants"] if row["model"] == model]
        if picture := pareto_plot(rows, f"{model}: quality against p99"):
            found.append((model, picture))
    frame, columns = Frame(), 2
    high = frame.height + 26
    parts = []
    for index, (model, picture) in enumerate(found):
        left, top = frame.width * (index % columns), high * (index // columns)
        parts.append(label(left + frame.left, top + 18, model, "heading"))
        size = {"width": frame.width, "height": frame.height}
        parts.append(
            element("g", _nested(picture, size), transform=f"translate({left} {top + 26})")
        )
    rows_of = max(1, math.ceil(len(found) / columns))
    background = element("rect", class_="paper", width="100%", height="100%", rx=8)
    whole = Frame(width=frame.width * min(columns, max(1, len(found))), height=high * rows_of)
    return standalone(
        whole.picture([background, *parts], "Quality against p99 of every model", "overview"),
        VARIANT_STYLE,
    )


def _nested(picture: str, size: Mapping[str, int]) -> str:
    attributes = " ".join(f'{name}="{value}"' for name, value in size.items())
    return picture.replace("<svg", f"<svg {attributes}", 1)
