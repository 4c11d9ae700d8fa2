// The tab that shows every variant of a model on the same input, side by side.

import { fill, h, styled } from "./dom.js";
import { choiceField, manyField } from "./fields.js";
import { Histogram } from "./histogram.js";
import { megabytes, ms, percent } from "./numbers.js";
import { patiently, showFault } from "./patience.js";
import { Fault, post } from "./service.js";
import { STAGES, stageBar, stageList } from "./told.js";

export const RUNS = 50;

/** The tab, made of the other tabs' forms. */
export function compareOf(tasks) {
  const byName = new Map(tasks.map((task) => [task.name, task]));
  return {
    name: "compare",
    label: "Compare",
    verb: "Compare",
    form: (models) => form(models, tasks),
    show: (place, outcome, context) => show(place, outcome, { ...context, task: byName.get(outcome.body.task) }),
  };
}

function form(models, tasks) {
  const forms = new Map();
  for (const task of tasks) {
    const inner = task.form(models);
    for (const field of inner.alone) field.element.hidden = true;
    forms.set(task.name, inner);
  }
  const variants = manyField("Variants");
  let listed = "";
  const choice = choiceField(
    "Task",
    tasks.map((task) => ({ value: task.name, label: task.label })),
    () => choose(),
  );

  function choose() {
    for (const [name, inner] of forms) inner.element.hidden = name !== choice.get();
    listVariants();
  }

  function listVariants() {
    const task = choice.get();
    const model = models.meant(task, forms.get(task).get());
    if (model === listed) return;
    listed = model;
    variants.options(models.variants(model).map((row) => ({ value: row.variant, label: row.variant })));
  }

  const element = h(
    "div",
    { class: "fields" },
    choice.element,
    variants.element,
    [...forms.values()].map((inner) => inner.element),
  );
  element.addEventListener("change", listVariants);
  choose();
  return {
    element,
    focus: () => forms.get(choice.get()).focus(),
    get: () => {
      const { variant, stream, ...input } = forms.get(choice.get()).get();
      return { task: choice.get(), input, variants: variants.get() };
    },
    set: (body) => {
      choice.set(body.task);
      forms.get(choice.get()).set(body.input ?? {});
      listVariants();
      variants.set(body.variants);
    },
  };
}

function show(place, { body, answer }, { models, task, signal }) {
  const rows = answer.variants;
  const most = (value) => Math.max(...rows.map(value));
  const scale = { time: most((row) => row.latency_ms), memory: most((row) => row.memory_mb) };
  const reference = rows[0];
  const others = rows.length - 1;
  fill(
    place,
    h(
      "div",
      { class: "verdict" },
      h("p", { class: "headline" }, others < 1 ? "Only one variant" : answer.agreement === 1 ? "All agree" : "They differ"),
      others > 0 &&
        answer.agreement < 1 &&
        h("p", { class: "sure number" }, `least agreement ${percent(answer.agreement)}`),
    ),
    others > 0 && h("p", { class: "explain number" }, gain(rows)),
    h(
      "ul",
      { class: "cards", "aria-label": "Variants" },
      rows.map((row) => card(row, { reference, scale, task, known: models.variant(answer.model, row.variant) })),
    ),
    repeat(body, rows.map((row) => row.variant), signal),
  );
  return `${rows.length} variants compared. ${answer.agreement === 1 ? "All agree." : "They differ."}`;
}

function card(row, { reference, scale, task, known }) {
  return h(
    "li",
    { class: "card" },
    h("div", { class: "card-head" }, h("h3", {}, row.variant), badge(row, reference)),
    h("div", { class: "card-answer" }, row.results.map((one) => answerOf(task, one, reference))),
    h(
      "div",
      { class: "card-time" },
      h("p", { class: "big number" }, ms(row.latency_ms)),
      stageBar(row.stages_ms, scale.time),
      stageList(row.stages_ms, STAGES),
    ),
    h(
      "dl",
      { class: "facts" },
      fact("memory", megabytes(row.memory_mb), row.memory_mb / scale.memory),
      known && fact("on disk", megabytes(known.size_bytes / 1e6)),
      known && fact("parameters", `${(known.parameters / 1e6).toFixed(1)} M`),
      known?.quality && fact(known.quality.metric.replaceAll("_", " "), known.quality.value.toFixed(3)),
    ),
  );
}

function fact(name, value, share) {
  const row = h("div", { class: share === undefined ? null : "with-share" }, h("dt", {}, name), h("dd", { class: "number" }, value));
  return styled(row, { "--share": String(share ?? 0) });
}

/** What the quickest of the others saved this time. */
function gain([reference, ...others]) {
  const best = others.reduce((one, other) => (other.latency_ms < one.latency_ms ? other : one));
  return (
    `This time ${best.variant} took ${ms(best.latency_ms)} where ${reference.variant} took ` +
    `${ms(reference.latency_ms)}, with ${megabytes(best.memory_mb)} instead of ${megabytes(reference.memory_mb)}.`
  );
}

function answerOf(task, result, reference) {
  return result.error ? h("p", { class: "brief none" }, result.error.message) : task.brief(result, reference.results[0]);
}

function badge(row, reference) {
  if (row === reference) return h("span", { class: "badge" }, "reference");
  if (row.agreement === 1) return h("span", { class: "badge good" }, "agrees");
  if (row.agreement === 0) return h("span", { class: "badge bad" }, "differs");
  return h("span", { class: "badge bad" }, `${Math.round(100 * row.agreement)} % alike`);
}

/** The button that asks many times, and what comes of it. */
function repeat(body, variants, signal) {
  const histogram = new Histogram(variants);
  const place = h("div");
  const label = `Run ${RUNS} times`;
  const button = h("button", { type: "button", class: "second" }, label);
  const note = h("p", { class: "hint", role: "status" }, "Server time, without waiting. In every run the variants take turns.");
  let running = null;

  async function run() {
    running = new AbortController();
    const stop = AbortSignal.any([running.signal, signal]);
    histogram.clear();
    button.textContent = "Stop";
    try {
      for (let done = 0; done < RUNS; done += 1) {
        const { answer } = await patiently(() => post("compare", body, stop), place, stop);
        histogram.add(answer.variants);
        note.textContent = `${done + 1} of ${RUNS} runs`;
      }
    } catch (error) {
      if (error instanceof Fault) showFault(error, place);
      else if (error.name !== "AbortError") throw error;
    } finally {
      running = null;
      button.textContent = label;
    }
  }

  button.addEventListener("click", () => (running ? running.abort() : run()));
  return h("section", { class: "repeat", "aria-label": label }, h("div", { class: "repeat-head" }, button, note), place, histogram.element);
}
