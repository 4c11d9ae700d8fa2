// What is on screen as an address: #/qa?{"question":...}. It stays in the browser: a part after
// the # is never sent.

/** The part of the address for a task and a request body. */
export function hashOf(task, body) {
  return body ? `#/${task}?${encodeURIComponent(JSON.stringify(body))}` : `#/${task}`;
}

/** {task, body} of an address; body is null when there is none, or none that can be read. */
export function readHash(hash) {
  const [, task = "", text = ""] = /^#\/(\w*)\??(.*)$/s.exec(hash) ?? [];
  return { task, body: text ? parsed(text) : null };
}

function parsed(text) {
  try {
    const body = JSON.parse(decodeURIComponent(text));
    return body && typeof body === "object" && !Array.isArray(body) ? body : null;
  } catch {
    return null;
  }
}
