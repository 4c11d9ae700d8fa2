// Talking to the service: answers with their timing, server-sent events, and faults as one type.

const KEY = "transfer-key"; // for as long as the tab is open, and in no address

/** The API key that a person gave, if any. */
export function keptKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing for this page
  }
}

export const keepKey = (key) => sessionStorage.setItem(KEY, key);

const withKey = (headers) => (keptKey() ? { ...headers, Authorization: `Bearer ${keptKey()}` } : headers);

/** What the service, or the way to it, said instead of an answer. */
export class Fault extends Error {
  constructor({ code, message, hint = "", status = 0, requestId = "", retryAfterS = 0 }) {
    super(message);
    Object.assign(this, { code, hint, status, requestId, retryAfterS });
  }

  /** Waiting helps. */
  get passing() {
    return this.code === "unreachable" || this.status === 429 || this.status === 503;
  }
}

/** Posts JSON; returns {answer, stages, requestId}. */
export async function post(route, body, signal) {
  const response = await send(route, body, signal);
  return { answer: await readJson(response), ...told(response) };
}

/** Posts JSON that is answered by events; yields {event, data}. `onresponse` gets the headers' news. */
export async function* postForEvents(route, body, signal, onresponse) {
  const response = await send(route, body, signal);
  onresponse(told(response));
  for await (const message of messages(response)) {
    if (message.event === "error") throw faultOf(message.data, response);
    yield message;
  }
}

/** Gets JSON. */
export async function get(route, signal) {
  return readJson(await reached(fetch(route, { headers: withKey({}), signal })));
}

async function send(route, body, signal) {
  const options = {
    method: "POST",
    headers: withKey({ "Content-Type": "application/json" }),
    body: JSON.stringify(body),
    signal,
  };
  return reached(fetch(route, options));
}

/** The response, if it is a good one. */
async function reached(pending) {
  let response;
  try {
    response = await pending;
  } catch (error) {
    throw lost(error);
  }
  if (response.ok) return response;
  throw faultOf(await response.json().catch(() => ({})), response);
}

async function readJson(response) {
  try {
    return await response.json();
  } catch (error) {
    throw lost(error);
  }
}

function lost(error) {
  if (error.name === "AbortError") return error;
  return new Fault({
    code: "unreachable",
    message: "The service does not answer.",
    hint: "It may be restarting, or the network is down.",
  });
}

function faultOf(content, response) {
  const error = content?.error ?? {};
  return new Fault({
    code: error.code ?? "unknown",
    message: error.message ?? `The service answered with status ${response.status}.`,
    hint: error.hint,
    status: response.status === 200 ? 0 : response.status,
    requestId: error.request_id ?? response.headers.get("X-Request-Id") ?? "",
    retryAfterS: retryAfterS(response.headers),
  });
}

/** Seconds of Retry-After, or until its date, counted from the answer's own; 0 without one. */
function retryAfterS(headers) {
  const text = headers.get("Retry-After") ?? "";
  const now = Date.parse(headers.get("Date")) || Date.now();
  const seconds = Number.isNaN(Number(text)) ? (Date.parse(text) - now) / 1000 : Number(text);
  return Math.max(0, Math.ceil(seconds)) || 0;
}

function told(response) {
  return {
    stages: stagesOf(response.headers.get("Server-Timing") ?? ""),
    requestId: response.headers.get("X-Request-Id") ?? "",
  };
}

/** "queue;dur=0.1, infer;dur=2" to {queue: 0.1, infer: 2}. */
export function stagesOf(header) {
  return Object.fromEntries(
    [...header.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, stage, ms]) => [stage, Number(ms)]),
  );
}

async function* messages(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw lost(error);
    }
    if (part.done) return;
    held += part.value;
    const whole = held.split("\n\n");
    held = whole.pop();
    for (const text of whole) yield messageOf(text);
  }
}

function messageOf(text) {
  const lines = text.split("\n");
  const valueOf = (name) =>
    lines
      .filter((line) => line.startsWith(`${name}:`))
      .map((line) => line.slice(name.length + 1).trimStart())
      .join("\n");
  return { event: valueOf("event") || "message", data: JSON.parse(valueOf("data") || "null") };
}
