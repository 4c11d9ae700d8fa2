// What is told about every answer: who answered, how long each stage took, what was read.

import { h, styled } from "./dom.js";
import { counted, ms } from "./numbers.js";

/** What a variant works at. */
export const STAGES = ["tokenize", "infer", "decode"];
const ALL = ["queue", ...STAGES, "other"];

/** A bar of the stages; `scale` is the number of milliseconds that fills it. */
export function stageBar(stages, scale, names = STAGES) {
  return h(
    "div",
    { class: "stages", "aria-hidden": "true" },
    names.map((stage) =>
      styled(h("span", { class: `stage ${stage}` }), { "--share": String((stages[stage] ?? 0) / scale || 0) }),
    ),
  );
}

/** The stages in words. */
export function stageList(stages, names = STAGES) {
  return h(
    "ul",
    { class: "stage-list" },
    names.map((stage) =>
      h("li", { class: stage }, h("span", {}, stage), h("span", { class: "number" }, ms(stages[stage] ?? 0))),
    ),
  );
}

/** Bar and list of a whole request; the rest of its time is HTTP and JSON. */
function whole(stages) {
  const known = ALL.slice(0, -1).reduce((sum, stage) => sum + (stages[stage] ?? 0), 0);
  const all = { ...stages, other: Math.max(0, stages.total - known) };
  return [stageBar(all, Math.max(known, stages.total), ALL), stageList(all, ALL)];
}

/** The strip under an answer. */
export function told({ answer, stages, requestId }) {
  const usage = answer.usage;
  return h(
    "div",
    { class: "told" },
    h(
      "p",
      { class: "who" },
      h("strong", {}, answer.model),
      h("span", {}, answer.variant),
      stages.total !== undefined && h("span", { class: "number" }, `${ms(stages.total)} on the server`),
      h("span", { class: "number" }, counted(usage.tokens, "token")),
      usage.windows > 1 && h("span", { class: "number" }, counted(usage.windows, "window")),
      usage.truncated && h("span", { class: "warn" }, "cut to one window"),
    ),
    stages.infer !== undefined && whole(stages),
    requestId && h("p", { class: "fine" }, "Request ", h("code", {}, requestId)),
  );
}
