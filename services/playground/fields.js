// Form fields: each is {element, get(), set(value)}; get() is undefined when there is nothing in it.

import { freshId, h } from "./dom.js";

function labelled(label, control, hint) {
  control.id = freshId("field");
  const note = hint && h("p", { class: "hint", id: `${control.id}-hint` }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

/** Text of any length and direction. */
export function textField(label, { rows = 3, placeholder, hint } = {}) {
  const area = h("textarea", { rows, placeholder, dir: "auto", spellcheck: "false" });
  return {
    element: labelled(label, area, hint),
    get: () => area.value || undefined,
    set: (value) => {
      area.value = Array.isArray(value) ? value.join("\n") : (value ?? "");
    },
    focus: () => area.focus(),
  };
}

/** A number within bounds, or nothing. */
export function numberField(label, { min, max, step = 1, placeholder }) {
  const input = h("input", { type: "number", min, max, step, placeholder, inputmode: "decimal" });
  return {
    element: labelled(label, input),
    get: () => (Number.isNaN(input.valueAsNumber) ? undefined : input.valueAsNumber),
    set: (value) => {
      input.value = value ?? "";
    },
  };
}

/** Names with commas between them. */
export function namesField(label, { placeholder, hint } = {}) {
  const input = h("input", { type: "text", placeholder, dir: "auto", spellcheck: "false" });
  return {
    element: labelled(label, input, hint),
    get: () => {
      const names = input.value.split(",").map((name) => name.trim());
      const given = [...new Set(names)].filter(Boolean);
      return given.length ? given : undefined;
    },
    set: (value) => {
      input.value = Array.isArray(value) ? value.join(", ") : "";
    },
  };
}

/** One of a few, all of them in sight; options: [{value, label}]. */
export function choiceField(label, options, onchange = () => {}) {
  const name = freshId("choice");
  const inputs = options.map(({ value }) =>
    h("input", { type: "radio", name, value, onchange: () => onchange(value) }),
  );
  const choice = {
    element: h(
      "fieldset",
      { class: "field choice" },
      h("legend", {}, label),
      h(
        "div",
        { class: "segments" },
        inputs.map((input, index) => h("label", {}, input, h("span", {}, options[index].label))),
      ),
    ),
    get: () => inputs.find((input) => input.checked)?.value,
    set: (value) => {
      const chosen = inputs.find((input) => input.value === value) ?? inputs[0];
      if (!chosen) return;
      chosen.checked = true;
      onchange(chosen.value);
    },
  };
  if (inputs.length) inputs[0].checked = true;
  return choice;
}

/** One of a list that may change: `options(list)` sets it. */
export function selectField(label, list = []) {
  const select = h("select");
  const field = {
    element: labelled(label, select),
    get: () => select.value || undefined,
    set: (value) => {
      const known = [...select.options].some((option) => option.value === value);
      select.value = known ? value : "";
    },
    options: (entries) => {
      select.replaceChildren(...entries.map((one) => h("option", { value: one.value }, one.label)));
    },
  };
  field.options(list);
  return field;
}

/** On or off. */
export function switchField(label) {
  const input = h("input", { type: "checkbox", role: "switch" });
  return {
    element: h("label", { class: "field switch" }, input, h("span", {}, label)),
    get: () => input.checked || undefined,
    set: (value) => {
      input.checked = Boolean(value);
    },
  };
}

/** Several on or off; get() is undefined when all are on. options: [{value, label}] */
export function manyField(label) {
  const box = h("div", { class: "segments many" });
  let inputs = [];
  return {
    element: h("fieldset", { class: "field choice" }, h("legend", {}, label), box),
    get: () => {
      const on = inputs.filter((input) => input.checked).map((input) => input.value);
      return on.length && on.length < inputs.length ? on : undefined;
    },
    set: (values) => {
      for (const input of inputs) input.checked = !Array.isArray(values) || values.includes(input.value);
    },
    options: (entries) => {
      inputs = entries.map(({ value }) => h("input", { type: "checkbox", value, checked: true }));
      box.replaceChildren(
        ...inputs.map((input, index) =>
          h("label", {}, input, h("span", {}, entries[index].label)),
        ),
      );
    },
  };
}

/** One document or several; get() is a string for one, a list for more. */
export function documentsField() {
  const list = h("div", { class: "documents" });
  const more = h("button", { type: "button", class: "quiet" }, "Add a document");
  let texts = [];

  function add(value = "", focus = false) {
    const text = textField("Document", { rows: 5, placeholder: "Paste the text that is to answer." });
    text.set(value);
    const remove = h("button", { type: "button", class: "quiet remove" }, "Remove");
    text.element.append(remove);
    remove.addEventListener("click", () => {
      texts = texts.filter((one) => one !== text);
      text.element.remove();
      number();
      texts.at(-1).focus();
    });
    texts.push(text);
    list.append(text.element);
    number();
    if (focus) text.focus();
  }

  function number() {
    for (const [index, text] of texts.entries()) {
      const alone = texts.length === 1;
      text.element.querySelector("label").textContent = alone ? "Document" : `Document ${index + 1}`;
      text.element.querySelector(".remove").hidden = alone;
    }
  }

  more.addEventListener("click", () => add("", true));
  return {
    element: h("div", {}, list, more),
    get: () => {
      const filled = texts.map((text) => text.get()).filter(Boolean);
      return filled.length > 1 ? filled : filled[0];
    },
    set: (value) => {
      texts = [];
      list.replaceChildren();
      for (const text of Array.isArray(value) && value.length ? value : [value ?? ""]) add(text);
    },
  };
}
