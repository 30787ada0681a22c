// SPDX-License-Identifier: Apache-2.0
//
// Validates a manifest against the schemas of the Kubernetes API, as the npm package kubernetes-models has them.
// Prints the kind of each object; exits with 1 and a line on stderr for each mistake.
//
// usage: NODE_PATH=build/npm/node_modules node validate_manifest.js FILE
"use strict";

const fs = require("fs");
const yaml = require("yaml");
const models = {
  "v1": require("kubernetes-models/v1"),
  "apps/v1": require("kubernetes-models/apps/v1"),
};

function mistakesOf(object) {
  const Model = (models[object.apiVersion] || {})[object.kind];
  if (!Model) return [`there is no ${object.kind} in ${object.apiVersion}`];
  try {
    new Model(object).validate();
  } catch (error) {
    return (error.errors || [error]).map((one) => `${one.instancePath || object.kind} ${one.message}`);
  }
  return [];
}

let failed = false;
for (const document of yaml.parseAllDocuments(fs.readFileSync(process.argv[2], "utf8"))) {
  const object = document.toJS();
  const mistakes = document.errors.map(String).concat(mistakesOf(object));
  for (const mistake of mistakes) console.error(mistake);
  failed = failed || mistakes.length > 0;
  console.log(object.kind);
}
process.exit(failed ? 1 : 0);
