// Light, dark, or as the system says; set before the page is painted, so it loads in the head.
(() => {
  const KEY = "transfer-theme";
  const NAMES = { system: "System", light: "Light", dark: "Dark" };
  const root = document.documentElement;

  function kept() {
    try {
      const name = localStorage.getItem(KEY);
      return name in NAMES ? name : "system";
    } catch {
      return "system"; // a browser that keeps nothing for this page
    }
  }

  function apply(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    try {
      localStorage.setItem(KEY, name);
    } catch {
      // as above
    }
  }

  function label(button, name) {
    button.title = `Theme: ${NAMES[name]}`;
    button.setAttribute("aria-label", `Theme: ${NAMES[name]}. Change it.`);
  }

  let name = kept();
  apply(name);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    label(button, name);
    button.addEventListener("click", () => {
      const names = Object.keys(NAMES);
      name = names[(names.indexOf(name) + 1) % names.length];
      apply(name);
      label(button, name);
    });
  });
})();
