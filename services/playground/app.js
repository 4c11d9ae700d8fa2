// The playground: asks the service what it has, makes a tab for each task, follows the address.

import { classify } from "./classify.js";
import { compareOf } from "./compare.js";
import { h } from "./dom.js";
import { Models } from "./models.js";
import { Panel } from "./panel.js";
import { patiently, showFault } from "./patience.js";
import { hashOf, readHash } from "./permalink.js";
import { qa } from "./qa.js";
import { Fault, get } from "./service.js";
import { summarize } from "./summarize.js";
import { tabs } from "./tabs.js";

const main = document.getElementById("main");
const place = h("div", { class: "place" });

async function start() {
  main.append(place);
  const [{ models: rows }, examples] = await patiently(
    () => Promise.all([get("models"), get("playground/examples.json")]),
    place,
  );
  build(new Models(rows), examples);
}

function build(models, examples) {
  const single = [classify, qa, summarize].filter((task) => models.of(task.name).length > 0);
  const panels = new Map();
  for (const task of [...single, compareOf(single)]) {
    const usable = examples[task.name].filter(({ body }) =>
      task.name === "compare" ? models.can(body.task, body.input) : models.can(task.name, body),
    );
    panels.set(task.name, new Panel(task, models, usable, (body) => keep(task.name, body)));
  }
  const entries = [...panels].map(([name, panel]) => ({ name, label: panel.task.label, panel: panel.element }));
  const list = tabs("Tasks", entries, (name) => {
    keep(name, null);
    enter(name, null);
  }, { class: "tabs" });
  main.append(list.list, ...entries.map((entry) => entry.panel));

  function enter(name, body) {
    list.choose(name);
    document.title = `${panels.get(name).task.label} · Transfer playground`;
    panels.get(name).open(body);
  }

  function follow() {
    const { task, body } = readHash(location.hash);
    enter(panels.has(task) ? task : entries[0].name, body);
  }

  addEventListener("popstate", follow);
  follow();
}

/** The address follows what was asked, so that Back goes there and the link can be shared. */
function keep(task, body) {
  const hash = hashOf(task, body);
  if (hash !== location.hash) history.pushState(null, "", hash);
}

start().catch((error) => {
  if (error instanceof Fault) showFault(error, place);
  else throw error;
});
