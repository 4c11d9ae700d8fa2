// Waiting for what passes by itself: an overloaded service, one that starts, one that is gone.

import { fill, h, styled } from "./dom.js";
import { Fault, keepKey } from "./service.js";

const POLL_MS = 1000;
const TITLES = {
  overloaded: "The service is busy.",
  quota_exceeded: "This key has used up its tokens.",
  not_ready: "The models are being loaded.",
};

/**
 * Does `attempt` until it is answered; meanwhile `place` says why it takes so long.
 * Raises what waiting does not help against, and AbortError when the person stops waiting.
 */
export async function patiently(attempt, place, signal) {
  for (;;) {
    try {
      const result = await attempt();
      place.replaceChildren();
      return result;
    } catch (error) {
      if (!(error instanceof Fault && error.passing)) throw error;
      await (error.code === "unreachable" ? untilBack(place, signal) : countdown(error, place, signal));
    }
  }
}

/** Asks for an API key; the page is loaded anew with it. */
function askForKey(fault, place) {
  const input = h("input", { type: "password", id: "key", autocomplete: "off", required: true });
  fill(
    place,
    h(
      "form",
      {
        class: "notice key",
        onsubmit: (event) => {
          event.preventDefault();
          keepKey(input.value.trim());
          location.reload();
        },
      },
      h("p", { class: "notice-title", role: "alert" }, fault.message),
      h("label", { for: "key" }, "API key"),
      h("div", { class: "key-row" }, input, h("button", { type: "submit", class: "first" }, "Use it")),
      h("p", { class: "hint" }, "It is kept until this tab is closed."),
    ),
  );
  input.focus();
}

/** Shows a fault for good. */
export function showFault(fault, place) {
  if (fault.status === 401) {
    askForKey(fault, place);
    return;
  }
  fill(
    place,
    h(
      "div",
      { class: "notice bad", role: "alert" },
      h("p", { class: "notice-title" }, fault.message),
      fault.hint && h("p", {}, fault.hint),
      fault.requestId && h("p", { class: "fine" }, "Request ", h("code", {}, fault.requestId)),
    ),
  );
}

async function countdown(fault, place, signal) {
  const seconds = Math.max(1, fault.retryAfterS);
  const title = TITLES[fault.code] ?? fault.message;
  const left = h("span", { class: "seconds" }, String(seconds));
  const line = styled(h("div", { class: "drain" }), { "--seconds": `${seconds}s` });
  const wait = waiting(place, signal, title, ["Asking again in ", left, " s"], line);
  for (let rest = seconds; rest > 0; rest -= 1) {
    left.textContent = String(rest);
    if (await wait.sleep(1000)) return;
  }
}

async function untilBack(place, signal) {
  const wait = waiting(place, signal, "The service does not answer.", [
    "It may be restarting. This page asks again until it is back.",
  ]);
  for (;;) {
    await wait.sleep(POLL_MS);
    try {
      if ((await fetch("readyz", { signal })).ok) return;
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
  }
}

/** A notice with a button; sleep(ms) is true when the person would not wait. */
function waiting(place, signal, title, text, extra) {
  let wake = () => {};
  const now = h("button", { type: "button", class: "quiet", onclick: () => wake(true) }, "Ask now");
  fill(
    place,
    h(
      "div",
      { class: "notice" },
      h("div", { role: "alert" }, h("p", { class: "notice-title" }, title)),
      h("p", {}, text, " ", now),
      extra,
    ),
  );
  const sleep = (ms) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      wake = resolve;
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      setTimeout(() => resolve(false), ms);
    });
  return { sleep };
}
