// Confidence: one bar for every score.

import { h, styled } from "./dom.js";
import { percent } from "./numbers.js";

/** rows: [{label, score, chosen?}]; threshold: 0..1 or undefined. */
export function bars(rows, { threshold, label = "Scores" } = {}) {
  return h(
    "ol",
    { class: "bars", "aria-label": label },
    rows.map((row) =>
      h(
        "li",
        { class: row.chosen ? "chosen" : null },
        h("bdi", { class: "bar-label" }, row.label),
        h("span", { class: "number" }, percent(row.score)),
        styled(
          h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill" }), threshold !== undefined && h("span", { class: "tick" })),
          { "--share": String(row.score), "--tick": String(threshold ?? 0) },
        ),
      ),
    ),
  );
}
