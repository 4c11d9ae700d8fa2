// One tab: examples, the form, the answer, the call in code.

import { codePart } from "./code.js";
import { h } from "./dom.js";
import { patiently, showFault } from "./patience.js";
import { hashOf } from "./permalink.js";
import { Fault, post } from "./service.js";
import { told } from "./told.js";

export class Panel {
  /** onasked(body) is called when a person asked, with what was asked. */
  constructor(task, models, examples, onasked) {
    this.task = task;
    this.models = models;
    this.onasked = onasked;
    this.opened = false;
    this.running = null;
    this.form = task.form(models);
    this.examples = examples;
    this.place = h("div", { class: "place" });
    this.result = h("div", { class: "result", role: "region", "aria-label": "Answer" });
    this.status = h("p", { role: "status", class: "offstage" });
    this.answerPart = h("div", { class: "answer" }, this.place, this.result, this.status);
    this.button = h("button", { type: "submit", class: "first" }, task.verb);
    this.chipButtons = [];
    this.code = codePart(() => new URL(hashOf(task.name, this.body()), location.href).href);
    this.element = this.build();
  }

  build() {
    const asking = h(
      "form",
      {
        class: "ask",
        "aria-label": this.task.label,
        onsubmit: (event) => {
          event.preventDefault();
          this.ask();
        },
        oninput: () => this.showCode(),
        onchange: () => this.showCode(),
        onkeydown: (event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            this.ask();
          }
        },
      },
      this.form.element,
      h("div", { class: "actions" }, this.button),
    );
    return h(
      "div",
      { class: `panel ${this.task.name}` },
      h("h2", { class: "offstage" }, this.task.label),
      this.examples.length > 0 && this.chips(),
      h("div", { class: "columns" }, asking, this.answerPart),
      this.code.element,
    );
  }

  chips() {
    this.chipButtons = this.examples.map(({ title, body }) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          onclick: () => {
            this.set(body);
            this.ask();
          },
        },
        title,
      ),
    );
    return h("div", { class: "examples", role: "group", "aria-label": "Examples" }, h("span", { class: "try" }, "Try"), this.chipButtons);
  }

  /** The request as it would be sent. */
  body() {
    return JSON.parse(JSON.stringify(this.form.get()));
  }

  set(body) {
    this.form.set(body);
    this.showCode();
  }

  /** Shows a request and asks it; without one, the first example, once. */
  open(body) {
    if (!body && this.opened) return;
    this.opened = true;
    const first = body ?? this.examples[0]?.body;
    this.set(first ?? {});
    if (first) this.ask(false);
  }

  /** The call in code, and which example it is, if any. */
  showCode() {
    const body = this.body();
    this.code.show(this.task.name, body);
    for (const [index, button] of this.chipButtons.entries()) {
      button.setAttribute("aria-pressed", String(same(body, this.examples[index].body)));
    }
  }

  async ask(told = true) {
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    const body = this.body();
    if (told) {
      this.onasked(body);
      this.bringIntoSight();
    }
    this.result.setAttribute("aria-busy", "true");
    try {
      const outcome = await patiently(() => this.answer(body, running.signal), this.place, running.signal);
      this.show({ ...outcome, body }, running.signal);
    } catch (error) {
      if (error instanceof Fault) this.fail(error);
      else if (error.name !== "AbortError") throw error;
    } finally {
      if (this.running === running) this.result.removeAttribute("aria-busy");
    }
  }

  /** Where the answer is below the form, a person should not have to look for it. */
  bringIntoSight() {
    if (this.answerPart.getBoundingClientRect().top > 0.7 * innerHeight) this.answerPart.scrollIntoView();
  }

  answer(body, signal) {
    if (body.stream && this.task.ask) return this.task.ask(body, signal, this.result);
    return post(this.task.name, body, signal);
  }

  show(outcome, signal) {
    const said = this.task.show(this.result, outcome, { models: this.models, signal });
    this.result.append(told({ ...outcome, answer: { variant: variantsOf(outcome.answer), ...outcome.answer } }));
    this.status.textContent = said;
  }

  fail(fault) {
    this.result.replaceChildren();
    showFault(fault, this.place);
  }
}

/** Equal bodies, whatever the order of their fields. */
function same(one, other) {
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") return one === other;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => same(one[name], other[name]));
}

/** A comparison has no variant of its own. */
function variantsOf(answer) {
  return answer.variants ? `${answer.variants.length} variants` : "";
}
