// A text with some of its spans marked. Offsets are code points, as the service counts them.

import { h, styled } from "./dom.js";

/**
 * spans: [{start, end, kind, title?, strength?}], the more important ones first: where two overlap,
 * the first one shows. strength: 0 to 1 (1 without it), how much of the marker. Returns nodes.
 */
export function marked(text, spans) {
  const points = Array.from(text);
  const cuts = new Set([0, points.length]);
  for (const span of spans) cuts.add(span.start).add(span.end);
  const edges = [...cuts].sort((a, b) => a - b);
  return edges.slice(0, -1).map((start, index) => {
    const piece = points.slice(start, edges[index + 1]).join("");
    const span = spans.find((one) => one.start <= start && start < one.end);
    if (!span) return piece;
    const mark = h("mark", { class: span.kind, title: span.title }, piece);
    return styled(mark, { "--strength": String(span.strength ?? 1) });
  });
}
