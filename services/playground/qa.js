// The tab that answers a question from documents.

import { bars } from "./bars.js";
import { fill, h } from "./dom.js";
import { choiceField, documentsField, numberField, selectField, textField } from "./fields.js";
import { marked } from "./marks.js";
import { percent } from "./numbers.js";

const WORTH = 0.1; // of the best score: what has less is listed, not marked

function form(models) {
  const question = textField("Question", { rows: 1, placeholder: "What do you want to know?" });
  const context = documentsField();
  const variant = selectField("Variant");
  const topK = numberField("Answers", { min: 1, max: 100 });
  const threshold = numberField("No answer below", { min: 0, max: 1, step: 0.05, placeholder: "model's" });
  const names = models.of("qa");
  const model = choiceField(
    "Model",
    names.map((name) => ({ value: name, label: name })),
    (name) => variant.options(models.variantOptions(name)),
  );
  model.set();
  model.element.hidden = names.length < 2;
  return {
    element: h(
      "div",
      { class: "fields" },
      h("div", { class: "inputs" }, question.element, context.element),
      h(
        "div",
        { class: "settings" },
        model.element,
        h("div", { class: "options" }, variant.element, topK.element, threshold.element),
      ),
    ),
    alone: [variant, topK],
    focus: question.focus,
    get: () => ({
      question: question.get() ?? "",
      context: context.get() ?? "",
      model: models.named("qa", model.get()),
      variant: variant.get(),
      top_k: topK.get(),
      threshold: threshold.get(),
    }),
    set: (body) => {
      question.set(body.question);
      context.set(body.context);
      model.set(models.meant("qa", body));
      variant.set(body.variant);
      topK.set(body.top_k);
      threshold.set(body.threshold);
    },
  };
}

function show(place, { body, answer }) {
  const result = answer.results[0];
  const found = result.answer !== null;
  const answers = found ? [result, ...result.alternatives] : result.alternatives;
  fill(
    place,
    h(
      "div",
      { class: found ? "verdict" : "verdict unsure" },
      h("p", { class: "headline", dir: "auto" }, found ? result.answer : "No answer there"),
      found && h("p", { class: "sure number" }, percent(result.score)),
    ),
    !found && h("p", { class: "explain" }, `The best guess has ${percent(result.score)}, too little to give it as an answer.`),
    documents(body.context, answers, found),
    answers.length > 1 &&
      bars(
        answers.map((one, index) => ({ label: one.answer, score: one.score, chosen: found && index === 0 })),
        { threshold: body.threshold, label: "Answers" },
      ),
  );
  return found ? result.answer : "No answer there";
}

/** Every document with what was found in it. */
function documents(context, answers, found) {
  const texts = Array.isArray(context) ? context : [context];
  return texts.map((text, number) => {
    const spans = answers
      .filter((one) => one.document === number && one.score >= WORTH * answers[0].score)
      .map((one) => ({
        ...one,
        kind: found && one === answers[0] ? "answer" : "other",
        title: percent(one.score),
      }));
    return h(
      "figure",
      { class: "document" },
      texts.length > 1 && h("figcaption", {}, `Document ${number + 1}`),
      h("p", { class: "text", dir: "auto" }, marked(text, spans)),
    );
  });
}

function brief(result) {
  if (result.answer === null) return [h("p", { class: "brief none" }, "No answer"), h("p", { class: "fine number" }, percent(result.score))];
  return [h("p", { class: "brief", dir: "auto" }, result.answer), h("p", { class: "fine number" }, percent(result.score))];
}

export const qa = { name: "qa", label: "Answer", verb: "Answer", form, show, brief };
