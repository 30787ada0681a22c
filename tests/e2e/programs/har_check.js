// SPDX-License-Identifier: Apache-2.0
// usage: har_check.js PACKAGES FILE...
//
// Validates HTTP Archives against the schema of har-validator and reads them with har-to-openapi, both from the
// directory PACKAGES. Prints a JSON line per file: {"entries": N, "operations": ["get /path", ...]}. Ends with 1 at the
// first file that is not valid.
"use strict";
const fs = require("fs");
const path = require("path");

const [packages, ...files] = process.argv.slice(2);
const load = (name) => require(path.join(packages, "node_modules", name));
const validator = load("har-validator");
const { generateSpec } = load("har-to-openapi");

async function check(file) {
  const har = JSON.parse(fs.readFileSync(file, "utf8"));
  await validator.har(har);
  const { spec } = await generateSpec(har, { forceAllRequestsInSameSpec: true });
  const operations = Object.entries(spec.paths || {}).flatMap(([name, item]) =>
    Object.keys(item).filter((key) => typeof item[key] === "object" && item[key].responses).map((key) => `${key} ${name}`));
  console.log(JSON.stringify({ entries: har.log.entries.length, operations: operations.sort() }));
}

(async () => {
  for (const file of files) {
    try {
      await check(file);
    } catch (error) {
      console.error(`${file}: ${error.message} ${JSON.stringify((error.errors || []).slice(0, 3))}`);
      process.exit(1);
    }
  }
})();
