// types.mjs <url of /openapi.json> <consumer.ts>: makes types of the document, compiles the consumer by them, and says
// `compiled`; then checks each webhook body that comes as a line of standard input against the document's schemas.
import { mkdtempSync, copyFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [url, consumer] = process.argv.slice(2);
const document = await (await fetch(url)).json();

const folder = mkdtempSync(join(tmpdir(), "tributary-types-"));
writeFileSync(join(folder, "tributary.d.ts"), astToString(await openapiTS(document)));
copyFileSync(consumer, join(folder, "consumer.ts"));
const program = ts.createProgram([join(folder, "consumer.ts")], { noEmit: true, strict: true, types: [] });
const wrong = ts.getPreEmitDiagnostics(program).map((it) => ts.flattenDiagnosticMessageText(it.messageText, " "));
console.log(wrong.length ? JSON.stringify(wrong) : "compiled");

const ajv = new Ajv({ strict: false, allErrors: true });
formats(ajv);
ajv.addSchema({ $id: "tributary", components: document.components });
for await (const line of createInterface({ input: process.stdin })) {
  const body = JSON.parse(line);
  const reference = document.webhooks[body.event]?.post.requestBody.content["application/json"].schema.$ref;
  const check = reference && ajv.getSchema(`tributary${reference}`);
  const valid = check ? check(body) : false;
  console.log(JSON.stringify({ event: body.event, valid, errors: check?.errors ?? [] }));
}
