// SPDX-License-Identifier: Apache-2.0
// usage: node messages_ws_h2.js SOCKETS [CERT KEY]
// SOCKETS WebSockets over HTTP/2 (RFC 8441) at once on one connection, node as server and client, with the frames of
// Debian's node-ws; between them a request of the usual kind. Prints what the clients send, as JSON lines.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http2 = require("http2");
const { Receiver, Sender } = require("/usr/share/nodejs/ws");

const [sockets, cert, key] = process.argv.slice(2);
const MESSAGES = 20;
const sha = (data) => crypto.createHash("sha256").update(data).digest("hex");

// The frames of a stream: say(data) sends a message of text or bytes, hear(data, isBinary) gets one.
function frames(stream, isServer, hear) {
  const receiver = new Receiver({ isServer });
  const sender = new Sender(stream, {});
  const say = (data, isBinary) => sender.send(data, { fin: true, binary: isBinary, mask: !isServer, compress: false });
  const close = (code) => sender.close(code, "", !isServer, () => {});
  receiver.on("message", hear);
  receiver.on("conclude", (code) => {
    if (isServer) close(code);
    stream.end();
  });
  receiver.on("error", (error) => { throw error; });
  stream.on("error", (error) => { throw error; });
  stream.pipe(receiver);
  return { say, close };
}

function serve(stream, headers) {
  if (headers[":protocol"] !== "websocket") {
    stream.respond({ ":status": 200 });
    stream.end(`you asked for ${headers[":path"]}\n`);
    return;
  }
  stream.respond({ ":status": 200 });
  const { say } = frames(stream, true, (data, isBinary) => say(data, isBinary));
}

function talk(session, number) {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "CONNECT", ":protocol": "websocket", ":scheme": cert ? "https" : "http", ":path": `/chat/${number}`,
      ":authority": "localhost", "sec-websocket-version": "13",
    }, { endStream: false });
    let heard = 0;
    stream.on("response", () => {
      const { say, close } = frames(stream, false, () => {
        heard++;
        if (heard === MESSAGES) close(1000 + number);
        else next();
      });
      const next = () => {
        const isBinary = heard % 2 === 1;
        const data = Buffer.from(`${number}: message ${heard} `.repeat(1 + heard * heard * 10));
        console.log(JSON.stringify({ socket: number, type: isBinary ? "binary" : "text", size: data.length, sha: sha(data) }));
        say(data, isBinary);
      };
      next();
    });
    stream.on("close", resolve);
  });
}

function ask(session, path) {
  return new Promise((resolve) => session.request({ ":path": path }).on("close", resolve).resume());
}

const settings = { enableConnectProtocol: true };
const server = cert
  ? http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key), settings })
  : http2.createServer({ settings });
server.on("stream", serve);
server.listen(0, "127.0.0.1", () => {
  const url = `${cert ? "https" : "http"}://localhost:${server.address().port}`;
  const session = http2.connect(url, cert ? { ca: fs.readFileSync(cert) } : {});
  session.on("remoteSettings", async () => {
    const talks = [];
    for (let i = 0; i < Number(sockets); i++) talks.push(talk(session, i));
    await ask(session, "/between");
    await Promise.all(talks);
    session.close(() => server.close(() => process.exit(0)));
  });
});
