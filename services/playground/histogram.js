// Server times of many runs: one row a variant, all rows on the same scale.

import { h, svg } from "./dom.js";
import { ms, quantile } from "./numbers.js";

const BINS = 48;
const HEIGHT = 20;
const WIDEST = 1.25; // of the slowest variant's 95th percentile; slower runs are in the last bin

export class Histogram {
  constructor(variants) {
    this.times = new Map(variants.map((variant) => [variant, []]));
    this.rows = h("div", { class: "histogram-rows" });
    this.element = h("figure", { class: "histogram", hidden: true }, this.rows);
    this.waiting = false;
  }

  clear() {
    for (const times of this.times.values()) times.length = 0;
  }

  /** The `variants` of one comparison. */
  add(rows) {
    for (const row of rows) this.times.get(row.variant)?.push(row.latency_ms);
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const found = [...this.times].map(([variant, times]) => [variant, times.toSorted((a, b) => a - b)]);
    if (found.some(([, times]) => !times.length)) return;
    const most = WIDEST * Math.max(...found.map(([, times]) => quantile(times, 0.95)));
    const first = quantile(found[0][1], 0.5);
    this.element.hidden = false;
    this.rows.replaceChildren(
      head(found[0][0]),
      ...found.map(([variant, times], index) => row(variant, times, most, index ? first : null)),
      h("div", { class: "axis number", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, ms(most / 2)), h("span", {}, `${ms(most)} and more`)),
    );
  }
}

/** What the columns are. */
function head(reference) {
  return h(
    "div",
    { class: "histogram-row head", "aria-hidden": "true" },
    h("span"),
    h("span"),
    h("p", {}, h("span", {}, "median"), h("span", {}, "p95"), h("span", {}, `against ${reference}`)),
  );
}

function row(variant, times, most, reference) {
  const middle = quantile(times, 0.5);
  const slow = quantile(times, 0.95);
  const ratio = reference && reference / middle;
  return h(
    "div",
    { class: "histogram-row" },
    h("h4", {}, variant),
    chart(times, most, middle),
    h(
      "p",
      { class: "number" },
      h("strong", {}, ms(middle)),
      h("span", {}, ms(slow)),
      ratio && h("span", {}, ratio >= 1 ? `${ratio.toFixed(1)}× faster` : `${(1 / ratio).toFixed(1)}× slower`),
    ),
  );
}

function chart(times, most, middle) {
  const counts = new Array(BINS).fill(0);
  for (const time of times) counts[Math.min(BINS - 1, Math.floor((BINS * time) / most))] += 1;
  const highest = Math.max(...counts);
  return svg(
    "svg",
    { viewBox: `0 0 ${BINS} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${times.length} runs, median ${ms(middle)}` },
    counts.map((count, bin) => {
      const height = (HEIGHT * count) / highest;
      return count > 0 && svg("rect", { class: "bin", x: bin + 0.08, width: 0.84, y: HEIGHT - height, height });
    }),
    svg("rect", { class: "median", x: Math.min(BINS - 0.2, (BINS * middle) / most), width: 0.16, y: 0, height: HEIGHT }),
  );
}
