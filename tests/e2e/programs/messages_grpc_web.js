// SPDX-License-Identifier: Apache-2.0
// usage: node messages_grpc_web.js VERSION FORMAT [CERT KEY]
// gRPC-Web, server and client in one process: VERSION 1 (HTTP/1.1) or 2 (HTTP/2), FORMAT grpc-web or grpc-web-text
// (in base64). Three calls, one after the other; prints what the client sent and got of each, as JSON lines.
"use strict";
const fs = require("fs");
const http = require("http");
const http2 = require("http2");
const https = require("https");

const [version, format, cert, key] = process.argv.slice(2);
const tls = cert ? { cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(cert) } : {};
const type = `application/${format}+proto`;
const isText = format === "grpc-web-text";

// A frame of the protocol (grpc/PROTOCOL-WEB): flags, length, payload; flag 0x80: trailers.
function frame(payload, flags = 0) {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(payload.length, 1);
  const bytes = Buffer.concat([head, payload]);
  return isText ? Buffer.from(bytes.toString("base64")) : bytes;
}

// The payloads of a body; each piece of text ends with its own padding.
function payloads(body) {
  const bytes = isText
    ? Buffer.concat(body.toString().match(/[^=]+=*/g).map((piece) => Buffer.from(piece, "base64")))
    : body;
  const found = [];
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) {
    found.push({ flags: bytes[at], payload: bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1)) });
  }
  return found;
}

const field = (number, text) =>
  Buffer.concat([Buffer.from([number << 3 | 2, text.length]), Buffer.from(text)]);

const ANSWERS = {
  "/a.test.Web/Get": { messages: [field(1, "one answer")], status: 0, message: "" },
  "/a.test.Web/Watch": { messages: ["a", "bb", "ccc"].map((text) => field(1, text)), status: 0, message: "" },
  "/a.test.Web/Missing": { messages: [], status: 5, message: "no such thing" },
};

async function whole(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

async function serve(request, response) {
  await whole(request);
  const answer = ANSWERS[request.url];
  response.writeHead(200, { "content-type": type });
  for (const message of answer.messages) {
    response.write(frame(message));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  response.end(frame(Buffer.from(`grpc-status: ${answer.status}\r\ngrpc-message: ${answer.message}\r\n`), 0x80));
}

async function call(send, path, text) {
  const body = payloads(await send(path, frame(field(7, text))));
  const messages = body.filter((one) => one.flags === 0).map((one) => one.payload.toString("base64"));
  const trailers = body[body.length - 1].payload.toString();
  console.log(JSON.stringify({ path, sent: field(7, text).toString("base64"), got: messages, trailers }));
}

function sender1(port) {
  const agent = new (cert ? https : http).Agent({ keepAlive: true, ...tls });
  return (path, body) => new Promise((resolve) => {
    const headers = { "content-type": type, accept: type, "x-grpc-web": "1" };
    const options = { host: "localhost", port, path, method: "POST", headers, agent };
    (cert ? https : http).request(options, (response) => resolve(whole(response))).end(body);
  });
}

function sender2(port) {
  const session = http2.connect(`${cert ? "https" : "http"}://localhost:${port}`, tls);
  return (path, body) => {
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": type, "x-grpc-web": "1" });
    stream.end(body);
    return whole(stream);
  };
}

const server = version === "2"
  ? (cert ? http2.createSecureServer(tls, serve) : http2.createServer(serve))
  : (cert ? https.createServer(tls, serve) : http.createServer(serve));
server.listen(0, "localhost", async () => {
  const send = (version === "2" ? sender2 : sender1)(server.address().port);
  await call(send, "/a.test.Web/Get", "what is asked");
  await call(send, "/a.test.Web/Watch", "for long");
  await call(send, "/a.test.Web/Missing", "for what is not there");
  process.exit(0);
});
