// Elements from plain values. Text is only ever text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element; attributes that start with "on" listen, children may be text, nodes or nothing. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Puts children of any kind that `h` takes in the place of what was there. */
export function fill(element, ...children) {
  element.replaceChildren(...real(children));
}

function real(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...real(children));
  return element;
}

/** Sets a CSS custom property; a style attribute would break the content security policy. */
export function styled(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
  return element;
}

let count = 0;

/** An id that no other element has. */
export function freshId(stem) {
  count += 1;
  return `${stem}-${count}`;
}

/** Puts text on the clipboard; also where the page was not loaded over a secure address. */
export async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = h("textarea", { class: "offstage", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies what `text()` gives and says so. */
export function copyButton(label, text, attributes = {}) {
  const said = h("span", { role: "status", class: "offstage" });
  const button = h("button", { type: "button", class: "quiet", ...attributes }, label);
  button.addEventListener("click", async () => {
    await copy(text());
    button.textContent = "Copied";
    said.textContent = "Copied";
    setTimeout(() => {
      button.textContent = label;
      said.textContent = "";
    }, 1600);
  });
  return h("span", { class: "copy" }, button, said);
}
