// Tabs as the ARIA practices describe them: one stop for Tab, arrows, Home and End move.

import { freshId, h } from "./dom.js";

/**
 * entries: [{name, label, panel}]; onchange(name) after a person chose.
 * Returns {list, choose(name), chosen}.
 */
export function tabs(label, entries, onchange, attributes = {}) {
  const buttons = new Map();
  let chosen = null;

  function choose(name) {
    chosen = name;
    for (const entry of entries) {
      const active = entry.name === name;
      const button = buttons.get(entry.name);
      button.setAttribute("aria-selected", String(active));
      button.tabIndex = active ? 0 : -1;
      entry.panel.hidden = !active;
    }
  }

  function move(event) {
    const names = entries.map((entry) => entry.name);
    const at = names.indexOf(chosen);
    const next = {
      ArrowRight: (at + 1) % names.length,
      ArrowLeft: (at - 1 + names.length) % names.length,
      Home: 0,
      End: names.length - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(names[next]);
    buttons.get(names[next]).focus();
    onchange(names[next]);
  }

  for (const entry of entries) {
    const id = freshId("tab");
    entry.panel.id ||= freshId("panel");
    entry.panel.setAttribute("role", "tabpanel");
    entry.panel.setAttribute("aria-labelledby", id);
    const button = h(
      "button",
      {
        type: "button",
        role: "tab",
        id,
        "aria-controls": entry.panel.id,
        onclick: () => {
          choose(entry.name);
          onchange(entry.name);
        },
      },
      entry.label,
    );
    buttons.set(entry.name, button);
  }
  const list = h("div", { role: "tablist", "aria-label": label, onkeydown: move, ...attributes }, [
    ...buttons.values(),
  ]);
  return {
    list,
    choose,
    get chosen() {
      return chosen;
    },
  };
}
