// SPDX-License-Identifier: Apache-2.0
// usage: node server.js LOG [CERT KEY]
// Echoes bodies on an ephemeral loopback port, over TLS when it is given PEM files for it; logs a JSON record per
// exchange before it answers.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const https = require("https");

const [logPath, cert, key] = process.argv.slice(2);
const log = fs.openSync(logPath, "a");
const sha = (data) => crypto.createHash("sha256").update(data).digest("hex");

function answer(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    const data = body.length ? body : Buffer.from(`you asked for ${request.url}\n`);
    fs.writeSync(log, JSON.stringify({
      side: "server", pid: process.pid, method: request.method, target: request.url,
      local_port: request.socket.localPort, remote_port: request.socket.remotePort,
      request_bytes: body.length, request_sha: sha(body),
      status: 201, response_bytes: data.length, response_sha: sha(data),
    }) + "\n");
    response.writeHead(201, { "Content-Type": "application/octet-stream" });
    response.end(data);
  });
}

const server = cert
  ? https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, answer)
  : http.createServer(answer);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
