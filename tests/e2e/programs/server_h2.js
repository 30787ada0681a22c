// SPDX-License-Identifier: Apache-2.0
// usage: node server_h2.js LOG [CERT KEY]
// The same as server.js for HTTP/2, in clear text (prior knowledge) or over TLS.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http2 = require("http2");

const [logPath, cert, key] = process.argv.slice(2);
const log = fs.openSync(logPath, "a");
const sha = (data) => crypto.createHash("sha256").update(data).digest("hex");

function answer(stream, headers) {
  const parts = [];
  stream.on("error", () => {});
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => {
    const body = Buffer.concat(parts);
    const data = body.length ? body : Buffer.from(`you asked for ${headers[":path"]}\n`);
    fs.writeSync(log, JSON.stringify({
      side: "server", pid: process.pid, method: headers[":method"], target: headers[":path"],
      local_port: stream.session.socket.localPort, remote_port: stream.session.socket.remotePort,
      request_bytes: body.length, request_sha: sha(body),
      status: 201, response_bytes: data.length, response_sha: sha(data), stream_id: stream.id, version: "2",
    }) + "\n");
    stream.respond({ ":status": 201, "content-type": "application/octet-stream" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": sha(data) }));
    stream.end(data);
  });
}

const server = cert
  ? http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
  : http2.createServer();
server.on("stream", answer);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
