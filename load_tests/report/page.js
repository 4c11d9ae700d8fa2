"use strict";
const table = document.getElementById("variants");

// Numbers before what was not measured, whichever way they are sorted.
function compare(column, down) {
  return (one, other) => {
    const a = one.cells[column].dataset.value, b = other.cells[column].dataset.value;
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : Number(a) - Number(b);
    return down ? -order : order;
  };
}

table.tHead.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const each of head.parentNode.cells) each.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare(head.cellIndex, down)));
});

document.getElementById("price").addEventListener("input", (event) => {
  const price = Number(event.target.value);
  for (const row of table.tBodies[0].rows) {
    const cell = row.querySelector('[data-column="cost_per_million"]');
    if (!row.dataset.rate || !(price >= 0)) continue;
    const cost = (price / 3600 / Number(row.dataset.rate)) * 1e6;
    cell.dataset.value = cost;
    cell.textContent = cost.toFixed(3);
  }
});
