// Validate custom resources against the schemas of their definitions.
//
//   node k8s/check/crds.mjs FOLDER < objects.json
//
// FOLDER has node_modules as package.json beside this file names them; objects.json is a list.
// Prints a JSON list of {object, faults}, one for each object; a kind without a schema is a fault.
// Types, enumerations and required fields are checked by the packages' validators. These let unknown
// fields pass, as JSON Schema has it and an API server without strict validation, so a field that is
// misspelt would be lost in silence: TypeScript finds them, by the types that the packages bring.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const PACKAGES = {
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
  "gateway.envoyproxy.io": "@kubernetes-models/envoy-gateway",
  "keda.sh": "@kubernetes-models/keda",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};
// "Object literal may only specify known properties", and the same with "did you mean".
const UNKNOWN_FIELD = [2353, 2561];
const MODULES = resolve(process.argv[2], "node_modules");

function moduleOf(object) {
  const [group, version] = object.apiVersion.split("/");
  const path = PACKAGES[group] && join(MODULES, PACKAGES[group], group, version, object.kind);
  return path && existsSync(`${path}.js`) ? path : null;
}

async function wrongValues(object) {
  const found = await import(`${moduleOf(object)}.js`);
  const Kind = found[object.kind] ?? found.default[object.kind];
  try {
    new Kind(object).validate();
  } catch (error) {
    return [error.message];
  }
  return [];
}

// Faults of each object, in order.
async function unknownFields(objects) {
  const ts = (await import(join(MODULES, "typescript", "lib", "typescript.js"))).default;
  const folder = mkdtempSync(resolve(process.argv[2], "objects-"));
  try {
    const files = objects.map((object, number) => {
      const file = join(folder, `${number}.ts`);
      const type = `import { I${object.kind} } from ${JSON.stringify(moduleOf(object))};`;
      writeFileSync(file, `${type}\nexport const object: I${object.kind} = ${JSON.stringify(object)};\n`);
      return file;
    });
    const program = ts.createProgram(files, { noEmit: true, strict: true, skipLibCheck: true, types: [] });
    return files.map((file) =>
      program
        .getSemanticDiagnostics(program.getSourceFile(file))
        .filter((each) => UNKNOWN_FIELD.includes(each.code))
        .map((each) => ts.flattenDiagnosticMessageText(each.messageText, " ")),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const objects = JSON.parse(readFileSync(0, "utf8"));
const known = objects.filter(moduleOf);
const unknown = new Map((await unknownFields(known)).map((faults, number) => [known[number], faults]));
const report = [];
for (const object of objects) {
  const faults = unknown.has(object)
    ? [...(await wrongValues(object)), ...unknown.get(object)]
    : [`no schema is known for ${object.apiVersion} ${object.kind}`];
  report.push({ object: `${object.kind}/${object.metadata.name}`, faults });
}
console.log(JSON.stringify(report, null, 2));
