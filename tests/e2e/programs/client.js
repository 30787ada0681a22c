// SPDX-License-Identifier: Apache-2.0
// usage: node client.js PORT COUNT
// COUNT requests over a keep-alive agent, a few at a time; logs a JSON record per exchange.
"use strict";
const crypto = require("crypto");
const http = require("http");

const [port, count] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const sha = (data) => crypto.createHash("sha256").update(data).digest("hex");

function exchange(i) {
  return new Promise((resolve, reject) => {
    const method = i % 2 ? "POST" : "GET";
    const body = i % 2 ? Buffer.alloc(i * 1000, i) : Buffer.alloc(0);
    const target = i % 2 ? `/echo?${i}` : `/chunked/${i * 997}`;
    const request = http.request({ host: "127.0.0.1", port, method, path: target, agent }, (response) => {
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
