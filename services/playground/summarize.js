// The tab that summarizes: sentence by sentence, or token by token where a model writes.

import { fill, h } from "./dom.js";
import { choiceField, numberField, selectField, switchField, textField } from "./fields.js";
import { marked } from "./marks.js";
import { counted, percent } from "./numbers.js";
import { Fault, postForEvents } from "./service.js";

function form(models) {
  const text = textField("Text", { rows: 10, placeholder: "Paste something long." });
  const sentences = numberField("Sentences", { min: 1, max: 1000, placeholder: "3" });
  const words = numberField("Words", { min: 1, max: 100000, placeholder: "any" });
  const variant = selectField("Variant");
  const stream = switchField("Show it while it is made");
  const names = models.of("summarize");
  const model = choiceField(
    "Model",
    names.map((name) => ({ value: name, label: name })),
    (name) => variant.options(models.variantOptions(name)),
  );
  model.set();
  let generation = {}; // how a model writes, by its name: a link may say it, no field does
  model.element.hidden = names.length < 2;
  return {
    element: h(
      "div",
      { class: "fields" },
      h("div", { class: "inputs" }, text.element),
      h(
        "div",
        { class: "settings" },
        model.element,
        h("div", { class: "options" }, variant.element, sentences.element, words.element),
        stream.element,
      ),
    ),
    alone: [variant, stream],
    focus: text.focus,
    get: () => ({
      text: text.get() ?? "",
      model: models.named("summarize", model.get()),
      variant: variant.get(),
      max_sentences: sentences.get(),
      max_words: words.get(),
      stream: stream.get(),
      generation: generation[model.get()],
    }),
    set: (body) => {
      text.set(body.text);
      model.set(models.meant("summarize", body));
      variant.set(body.variant);
      sentences.set(body.max_sentences);
      words.set(body.max_words);
      stream.set(body.stream);
      generation = { [models.meant("summarize", body)]: body.generation };
    },
  };
}

/** Asks for a stream and shows it as it comes; the outcome is that of the whole answer. */
async function ask(body, signal, place) {
  const outcome = { stages: {}, requestId: "" };
  const text = h("p", { class: "summary growing", dir: "auto" });
  fill(place, text);
  const heard = (news) => Object.assign(outcome, news);
  for await (const { event, data } of postForEvents("summarize", body, signal, heard)) {
    if (event === "sentence") text.append(h("span", { class: "arriving" }, `${data.text} `));
    if (event === "token") text.append(data.text);
    if (event === "result") outcome.answer = data;
  }
  if (!outcome.answer) throw broken(outcome);
  return outcome;
}

/** A stream that ends before its `result`, as when something on the way closes it. */
const broken = ({ requestId }) =>
  new Fault({
    code: "stream_broken",
    message: "The stream ended before the whole answer.",
    hint: "Ask again.",
    requestId,
  });

function show(place, { body, answer }) {
  const result = answer.results[0];
  fill(
    place,
    h("p", { class: "summary", dir: "auto" }, result.summary),
    h(
      "p",
      { class: "explain number" },
      `${percent(result.compression)} of the text's length`,
      result.sentences.length > 0 && `, ${counted(result.sentences.length, "sentence")} of it, word for word`,
    ),
    result.sentences.length > 0 && h("figure", { class: "document" }, inText(body.text, result.sentences)),
  );
  return `Summary: ${result.summary}`;
}

/** The text with the chosen sentences marked, the surer the stronger. */
function inText(text, sentences) {
  const surest = Math.max(...sentences.map((one) => one.score));
  const spans = sentences.map((one) => ({
    ...one,
    kind: "chosen",
    title: percent(one.score),
    strength: one.score / surest || 0,
  }));
  return h(
    "p",
    { class: "text", dir: "auto" },
    marked(text, spans),
  );
}

function brief(result, reference) {
  if (!result.sentences.length) return [h("p", { class: "brief prose", dir: "auto" }, result.summary)];
  const known = new Set((reference?.sentences ?? []).map((one) => one.start));
  return [
    h(
      "ol",
      { class: "picked" },
      result.sentences.map((one) =>
        h("li", { class: known.has(one.start) ? null : "only", dir: "auto" }, one.text),
      ),
    ),
  ];
}

export const summarize = { name: "summarize", label: "Summarize", verb: "Summarize", form, ask, show, brief };
