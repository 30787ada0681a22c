// SPDX-License-Identifier: Apache-2.0
// usage: node client_h2.js URL COUNT [CERT]
// COUNT requests at once on one connection of HTTP/2, then, for each line on standard input, as many again.
"use strict";
const fs = require("fs");
const http2 = require("http2");
const readline = require("readline");

const [url, count, cert] = process.argv.slice(2);
const session = http2.connect(url, cert ? { ca: fs.readFileSync(cert) } : {});
let number = 0;

function request(path) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "POST", ":path": path, "x-same": "the same in every request" });
    stream.on("error", reject);
    stream.on("end", resolve);
    stream.resume();
    stream.end(`body of ${path}`);
  });
}

async function round() {
  const requests = [];
  for (let i = 0; i < Number(count); i++) requests.push(request(`/${++number}`));
  await Promise.all(requests);
  console.error("ready");
}

(async () => {
  await round();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line === "end") break;
    await round();
  }
  session.close(() => process.exit(0));
})();
