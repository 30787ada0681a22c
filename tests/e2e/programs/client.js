// SPDX-License-Identifier: Apache-2.0
// usage: node client.js PORT COUNT [CA]
// COUNT requests over a keep-alive agent, a few at a time, over TLS when there is a PEM file to check the server's
// certificate against; logs a JSON record per exchange.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const https = require("https");

const [port, count] = process.argv.slice(2, 4).map(Number);
const ca = process.argv[4] && fs.readFileSync(process.argv[4]);
const library = ca ? https : http;
const agent = new library.Agent({ keepAlive: true, maxSockets: 4, ca });
const sha = (data) => crypto.createHash("sha256").update(data).digest("hex");

function exchange(i) {
  return new Promise((resolve, reject) => {
    const method = i % 2 ? "POST" : "GET";
    const body = i % 2 ? Buffer.alloc(i * 1000, i) : Buffer.alloc(0);
    const target = i % 2 ? `/echo?${i}` : `/chunked/${i * 997}`;
    const request = library.request({ host: "127.0.0.1", port, method, path: target, agent }, (response) => {
      const parts = [];
      const socket = response.socket;
      const ports = { local_port: socket.localPort, remote_port: socket.remotePort };
      response.on("data", (part) => parts.push(part));
      response.on("end", () => {
        const data = Buffer.concat(parts);
        console.log(JSON.stringify({
          side: "client", pid: process.pid, method, target, ...ports,
          request_bytes: body.length, request_sha: sha(body),
          status: response.statusCode, response_bytes: data.length, response_sha: sha(data),
        }));
        resolve();
      });
    });
    request.on("error", reject);
    request.end(body.length ? body : undefined);
  });
}

Promise.all(Array.from({ length: count }, (_, i) => exchange(i))).then(() => agent.destroy());
