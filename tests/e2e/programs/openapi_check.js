// SPDX-License-Identifier: Apache-2.0
// Judges a document of OpenAPI: with a validator (@seriousme/openapi-schema-validator), and with a server that is made
// from it (openapi-backend).
//
// usage: openapi_check.js validate FILE        prints {"valid": ..., "errors": ...}
//        openapi_check.js mock FILE            serves the examples and schemas of the document; prints the port. A
//                                              request that does not fit the document is answered with 400 or 404
//        openapi_check.js responses FILE LOG   LOG: lines of {method, target, status, headers, body} as a real server
//                                              gave them; prints the errors of each against the document
"use strict";
const fs = require("fs");
const http = require("http");
const { OpenAPIBackend } = require("openapi-backend");

const [what, file, log] = process.argv.slice(2);
const definition = JSON.parse(fs.readFileSync(file, "utf8"));

async function validate() {
  const { Validator } = await import(require.resolve("@seriousme/openapi-schema-validator"));
  console.log(JSON.stringify(await new Validator().validate(definition)));
}

function backend(handlers) {
  return new OpenAPIBackend({
    definition, handlers, strict: false, quick: true, ajvOpts: { strict: false }, customizeAjv: addFormats,
  }).init();
}

function addFormats(ajv) {
  for (const name of ["int32", "int64"]) ajv.addFormat(name, true);
  return ajv;
}

async function mock() {
  const api = await backend({
    validationFail: (context) => ({ status: 400, body: context.validation.errors }),
    notFound: () => ({ status: 404, body: { error: "no such path in the document" } }),
    methodNotAllowed: () => ({ status: 405, body: { error: "no such method in the document" } }),
    unauthorizedHandler: () => ({ status: 401, body: {} }),
    notImplemented: (context) => {
      const { status, mock: body } = context.api.mockResponseForOperation(context.operation.operationId);
      return { status, body };
    },
  });
  for (const [name, scheme] of Object.entries((definition.components || {}).securitySchemes || {})) {
    api.registerSecurityHandler(name, (context) => (scheme.type === "http"
      ? Boolean(context.request.headers.authorization) : Boolean(context.request.headers[scheme.name.toLowerCase()])));
  }
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
      const [path, query] = request.url.split("?");
      const { status, body } = await api.handleRequest({
        method: request.method, path, query, headers: request.headers, body: Buffer.concat(parts).toString("utf8"),
      });
      const text = body === undefined ? "" : JSON.stringify(body);
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(status === 204 ? "" : text);
    });
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

async function responses() {
  const api = await backend({});
  for (const line of fs.readFileSync(log, "utf8").trim().split("\n")) {
    const { method, target, status, body } = JSON.parse(line);
    const [path, query] = target.split("?");
    const operation = api.matchOperation({ method, path, query, headers: {} });
    const known = operation && operation.responses[String(status)];
    const { errors } = known && body !== null ? api.validateResponse(body, operation, status) : { errors: null };
    console.log(JSON.stringify({ method, target, operation: operation && operation.operationId, known: Boolean(known),
      errors }));
  }
}

({ validate, mock, responses })[what]().catch((error) => {
  console.error(error);
  process.exit(1);
});
