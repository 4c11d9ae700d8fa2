// The tab that labels a text.

import { bars } from "./bars.js";
import { fill, h } from "./dom.js";
import { choiceField, namesField, numberField, selectField, textField } from "./fields.js";
import { ZERO_SHOT } from "./models.js";
import { percent } from "./numbers.js";

const NAMES = { [ZERO_SHOT]: "your own labels" };

function form(models) {
  const text = textField("Text", { rows: 4, placeholder: "Type or paste anything." });
  const labels = namesField("Labels", { hint: "Any names, with commas between them. No training." });
  const variant = selectField("Variant");
  const topK = numberField("Scores", { min: 1, max: 1000 });
  const threshold = numberField("Abstain below", { min: 0, max: 1, step: 0.05, placeholder: "model's" });
  const options = models.of("classify").map((name) => ({ value: name, label: NAMES[name] ?? name }));
  const model = choiceField("Model", options, (name) => {
    labels.element.hidden = name !== ZERO_SHOT;
    variant.options(models.variantOptions(name));
  });
  model.set();
  model.element.hidden = options.length < 2;
  return {
    element: h(
      "div",
      { class: "fields" },
      h("div", { class: "inputs" }, text.element),
      h(
        "div",
        { class: "settings" },
        model.element,
        labels.element,
        h("div", { class: "options" }, variant.element, topK.element, threshold.element),
      ),
    ),
    alone: [variant, topK],
    focus: text.focus,
    get: () => {
      const own = model.get() === ZERO_SHOT;
      return {
        text: text.get() ?? "",
        model: own ? undefined : models.named("classify", model.get()),
        labels: own ? (labels.get() ?? []) : undefined,
        variant: variant.get(),
        top_k: topK.get(),
        threshold: threshold.get(),
      };
    },
    set: (body) => {
      text.set(body.text);
      model.set(models.meant("classify", body));
      labels.set(body.labels);
      variant.set(body.variant);
      topK.set(body.top_k);
      threshold.set(body.threshold);
    },
  };
}

function headline(result) {
  if (result.chosen?.length) return result.chosen.join(", ");
  return result.abstained ? "Not sure" : result.label;
}

function show(place, { body, answer }) {
  const result = answer.results[0];
  const chosen = result.chosen ?? (result.abstained ? [] : [result.label]);
  const title = headline(result);
  fill(
    place,
    h(
      "div",
      { class: result.abstained ? "verdict unsure" : "verdict" },
      h("p", { class: "headline" }, h("bdi", {}, title)),
      !result.abstained && chosen.length < 2 && h("p", { class: "sure number" }, percent(result.score)),
    ),
    result.abstained &&
      h(
        "p",
        { class: "explain" },
        "Closest is ",
        h("bdi", { class: "name" }, result.label),
        ` with ${percent(result.score)}, too little to settle on it.`,
      ),
    bars(
      result.scores.map((one) => ({ ...one, chosen: chosen.includes(one.label) })),
      { threshold: body.threshold },
    ),
  );
  return result.abstained ? `Not sure; closest is ${result.label}` : `${title}, ${percent(result.score)}`;
}

/** The answer in a comparison. */
function brief(result) {
  const title = result.chosen ? result.chosen.join(", ") || "none" : result.label;
  return [
    h("p", { class: "brief" }, h("bdi", {}, title)),
    h("p", { class: "fine number" }, percent(result.score), result.abstained && ", abstains"),
  ];
}

export const classify = { name: "classify", label: "Classify", verb: "Classify", form, show, brief };
