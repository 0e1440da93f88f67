// Validates an AsyncAPI document from standard input with AsyncAPI's own parser, which also
// validates the bindings. Exits with 1 and lists the errors and warnings, if there are any.

import { readFileSync } from "node:fs";
import { DiagnosticSeverity, Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const problems = diagnostics.filter(({ severity }) => severity <= DiagnosticSeverity.Warning);
for (const { code, message, path } of problems) {
  console.error(`${path.join(".")}: ${message} (${code})`);
}
if (problems.length || !document) {
  process.exit(1);
}
const [channels, messages] = [document.channels().all(), document.messages().all()];
console.log(`valid: ${channels.length} channels, ${messages.length} messages`);
