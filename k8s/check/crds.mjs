// Validate custom resources against the schemas of their definitions.
//
//   node k8s/check/crds.mjs FOLDER < objects.json
//
// FOLDER has node_modules as package.json beside this file names them; objects.json is a list.
// Prints a JSON list of {object, faults}, one for each object; a kind without a schema is a fault.
// Types, enumerations and required fields are checked; unknown fields pass, as JSON Schema has it.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const PACKAGES = {
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
  "gateway.envoyproxy.io": "@kubernetes-models/envoy-gateway",
  "keda.sh": "@kubernetes-models/keda",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};

async function faultsOf(object) {
  const [group, version] = object.apiVersion.split("/");
  if (!PACKAGES[group]) return [`no schema is known for ${object.apiVersion}`];
  const home = resolve(process.argv[2], "node_modules", PACKAGES[group]);
  const found = await import(resolve(home, group, version, `${object.kind}.js`));
  const Kind = found[object.kind] ?? found.default[object.kind];
  try {
    new Kind(object).validate();
  } catch (error) {
    return [error.message];
  }
  return [];
}

const report = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${object.kind}/${object.metadata.name}`;
  report.push({ object: name, faults: await faultsOf(object) });
}
console.log(JSON.stringify(report, null, 2));
