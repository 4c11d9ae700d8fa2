// The part that shows the call on screen in three languages.

import { copyButton, h } from "./dom.js";
import { LANGUAGES } from "./snippets.js";
import { tabs } from "./tabs.js";

const PARTS = /("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.|\\')*')|\b(const|await|for|of|in|from|import|with|as|print|curl|None|True|False|true|false)\b/gs;

/** show(task, body) writes the snippets. */
export function codePart(permalink) {
  const shown = new Map(LANGUAGES.map(({ name }) => [name, ""]));
  const entries = LANGUAGES.map(({ name, label }) => ({
    name,
    label,
    panel: h("pre", { class: "code", tabindex: "0", "data-language": name }),
  }));
  const list = tabs("Language", entries, () => {}, { class: "small-tabs" });
  list.choose(LANGUAGES[0].name);
  const element = h(
    "section",
    { class: "code-part", "aria-label": "The same call in code" },
    h(
      "div",
      { class: "code-head" },
      list.list,
      h("div", { class: "code-actions" }, copyButton("Copy code", () => shown.get(list.chosen), { class: "quiet copy-code" }), copyButton("Copy link", permalink, { class: "quiet copy-link" })),
    ),
    entries.map((entry) => entry.panel),
  );
  return {
    element,
    show: (task, body) => {
      for (const [index, { name, write }] of LANGUAGES.entries()) {
        shown.set(name, write(task, body));
        entries[index].panel.replaceChildren(h("code", {}, coloured(shown.get(name))));
      }
    },
  };
}

function coloured(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(PARTS)) {
    nodes.push(text.slice(from, found.index));
    nodes.push(h("span", { class: found[1] ? "string" : "word" }, found[0]));
    from = found.index + found[0].length;
  }
  return [...nodes, text.slice(from)];
}
