// The call that is on screen, as others would write it.

import { keptKey } from "./service.js";

const address = (route) => new URL(route, document.baseURI).href;
const base = () => address(".").replace(/\/$/, "");

export const LANGUAGES = [
  { name: "curl", label: "curl", write: curl },
  { name: "python", label: "Python", write: python },
  { name: "javascript", label: "JavaScript", write: javascript },
];

function curl(task, body) {
  const text = JSON.stringify(body, null, 1).replaceAll("'", "'\\''");
  const key = keptKey() ? `  -H "Authorization: Bearer $KEY" \\\n` : "";
  const flags = body.stream ? "-sN" : "-s";
  return `curl ${flags} ${address(task)} \\\n${key}  -H 'Content-Type: application/json' \\\n  -d '${text}'`;
}

const PYTHON_WORDS = { true: "True", false: "False", null: "None" };

/** A JSON value as Python writes it; JSON's strings are Python's. */
function literal(value, indent) {
  if (value === null || typeof value === "boolean") return PYTHON_WORDS[String(value)];
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((one) => literal(one, inner))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${open}\n${items.map((one) => inner + one).join(",\n")},\n${indent}${close}` : open + close;
}

const PRINTED = {
  classify: "print(answer.first.label, answer.first.score)",
  qa: "print(answer.first.answer, answer.first.score)",
  summarize: "print(answer.first.summary)",
  compare: "for row in answer.variants:\n    print(row.variant, row.latency_ms, row.agreement)",
};

function python(task, { stream, ...body }) {
  const fields = Object.entries(body).map(([name, value]) => `        ${name}=${literal(value, "        ")},\n`);
  const call = (method) => `client.${method}(\n${fields.join("")}    )`;
  const lines = stream
    ? `    for event in ${call("summarize_stream")}:\n        print(event)`
    : `    answer = ${call(task)}\n${PRINTED[task]}`;
  const key = keptKey() ? ', api_key="KEY"' : "";
  return `from services.client import Client\n\nwith Client(${JSON.stringify(base())}${key}) as client:\n${lines}`;
}

function javascript(task, body) {
  const text = JSON.stringify(body, null, 2).replaceAll("\n", "\n  ");
  const read = body.stream
    ? "for await (const part of response.body.pipeThrough(new TextDecoderStream())) {\n  console.log(part);\n}"
    : "console.log(await response.json());";
  const key = keptKey() ? ', Authorization: "Bearer KEY"' : "";
  return (
    `const response = await fetch(${JSON.stringify(address(task))}, {\n  method: "POST",\n` +
    `  headers: { "Content-Type": "application/json"${key} },\n  body: JSON.stringify(${text}),\n});\n${read}`
  );
}
