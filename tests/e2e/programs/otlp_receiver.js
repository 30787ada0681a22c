// SPDX-License-Identifier: Apache-2.0
// OTLP/HTTP receiver with the protocol definitions of OpenTelemetry (npm: @opentelemetry/otlp-transformer).
//
// usage: otlp_receiver.js LOG [ANSWER...]
// Each request is answered as the next ANSWER says, then with success: STATUS or STATUS:SECONDS (with Retry-After),
// html, empty, long (200 with a body of 1 MiB), slow:MS, partial:COUNT (rejected), reset, hang; with * behind it, for
// ever. Environment: PORT, and CERT and KEY for https. Prints the port. LOG
// gets a line of JSON for each request: path, headers, answer, and what it decoded to: spans or points.
"use strict";
const fs = require("fs");
const http = require("http");
const https = require("https");
const zlib = require("zlib");
const assert = require("assert");
const { opentelemetry } = require("@opentelemetry/otlp-transformer/build/src/generated/root");

const [log, ...answers] = process.argv.slice(2);
const collector = opentelemetry.proto.collector;
const kinds = {
  "/v1/traces": collector.trace.v1.ExportTraceServiceRequest,
  "/v1/metrics": collector.metrics.v1.ExportMetricsServiceRequest,
};
const IDS = new Set(["traceId", "spanId", "parentSpanId"]);

// The JSON encoding of OTLP has ids in hexadecimal, where that of Protocol Buffers has base64.
function withBytes(value) {
  if (Array.isArray(value)) return value.map(withBytes);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) =>
    [key, IDS.has(key) ? Buffer.from(inner, "hex") : withBytes(inner)]));
}

function withHex(value) {
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(withHex);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withHex(inner)]));
}

// What the definitions do not know, or know as another type, does not come back.
function decode(kind, text) {
  const sent = JSON.parse(text);
  const message = kind.fromObject(withBytes(sent));
  assert.strictEqual(kind.verify(message), null);
  const again = kind.decode(kind.encode(message).finish());
  const back = withHex(kind.toObject(again, { longs: String, bytes: Buffer, enums: Number }));
  assert.deepStrictEqual(back, JSON.parse(text));
  return back;
}

function plain(attributes) {
  return Object.fromEntries((attributes || []).map(({ key, value }) => [key, Object.values(value)[0]]));
}

function spansOf(body) {
  return (body.resourceSpans || []).flatMap(({ resource, scopeSpans }) => scopeSpans.flatMap(({ spans }) =>
    spans.map((span) => ({ ...span, attributes: plain(span.attributes), resource: plain(resource.attributes) }))));
}

function pointsOf(body) {
  return (body.resourceMetrics || []).flatMap(({ resource, scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) =>
    metrics.flatMap(({ name, unit, histogram }) => histogram.dataPoints.map((point) => ({
      ...point, name, unit, temporality: histogram.aggregationTemporality, attributes: plain(point.attributes),
      resource: plain(resource.attributes),
    })))));
}

function reply(request, response, answer) {
  const [what, argument] = answer.split(":");
  const json = (value) => {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(value));
  };
  if (/^\d+$/.test(what)) {
    response.writeHead(Number(what), argument ? { "Retry-After": argument } : {});
    response.end();
  } else if (what === "html") {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<html>not OTLP</html>");
  } else if (what === "empty") {
    response.end();
  } else if (what === "long") {
    response.end("x".repeat(1 << 20));
  } else if (what === "slow") {
    setTimeout(() => json({}), Number(argument));
  } else if (what === "partial") {
    json({ partialSuccess: { rejectedSpans: argument, rejectedDataPoints: argument, errorMessage: "too old" } });
  } else if (what === "reset") {
    request.socket.destroy();
  } else if (what !== "hang") {
    json({});
  }
}

function nextAnswer() {
  if (answers.length && answers[0].endsWith("*")) return answers[0].slice(0, -1);
  return answers.shift() || "ok";
}

function onRequest(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const answer = nextAnswer();
    let body = Buffer.concat(parts);
    if (request.headers["content-encoding"] === "gzip") body = zlib.gunzipSync(body);
    const record = { path: request.url, headers: request.headers, answer, time: Date.now() / 1000, bytes: body.length };
    try {
      assert.strictEqual(request.method, "POST");
      assert.strictEqual(request.headers["content-type"], "application/json");
      const decoded = decode(kinds[request.url], body.toString("utf8"));
      record.spans = spansOf(decoded);
      record.points = pointsOf(decoded);
    } catch (error) {
      record.error = String(error.stack).slice(0, 3000);
    }
    fs.appendFileSync(log, `${JSON.stringify(record)}\n`);
    reply(request, response, answer);
  });
}

const { CERT, KEY, PORT } = process.env;
const server = CERT
  ? https.createServer({ cert: fs.readFileSync(CERT), key: fs.readFileSync(KEY) }, onRequest)
  : http.createServer(onRequest);
server.listen(Number(PORT || 0), "127.0.0.1", () => console.log(server.address().port));
