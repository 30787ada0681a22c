// SPDX-License-Identifier: Apache-2.0
// usage: node server.js LOG
// Echoes bodies on an ephemeral loopback port; logs a JSON record per exchange before it answers.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");

const log = fs.openSync(process.argv[2], "a");
const sha = (data) => crypto.createHash("sha256").update(data).digest("hex");

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    const answer = body.length ? body : Buffer.from(`you asked for ${request.url}\n`);
    fs.writeSync(log, JSON.stringify({
      side: "server", pid: process.pid, method: request.method, target: request.url,
      local_port: request.socket.localPort, remote_port: request.socket.remotePort,
      request_bytes: body.length, request_sha: sha(body),
      status: 201, response_bytes: answer.length, response_sha: sha(answer),
    }) + "\n");
    response.writeHead(201, { "Content-Type": "application/octet-stream" });
    response.end(answer);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
