// SPDX-License-Identifier: Apache-2.0
// Sends and receives events with the CloudEvents SDK of Node. tests/lib/sdk_peers.py says what it is told and tells.
"use strict";
const http = require("http");
const readline = require("readline");
const { CloudEvent, HTTP, Mode, emitterFor } = require("cloudevents");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

// An event of the SDK.
function made(spec) {
  const event = { ...spec.attributes };
  if (spec.bytes !== undefined) event.data = new Uint8Array(Buffer.from(spec.bytes, "base64"));
  else if (spec.json !== undefined) event.data = spec.json;
  else if (spec.text !== undefined) event.data = spec.text;
  return new CloudEvent(event);
}

// What the SDK says of an event.
function told(event) {
  const attributes = {};
  for (const [name, value] of Object.entries(event)) {
    if (value !== undefined && name !== "data" && name !== "data_base64") attributes[name] = String(value);
  }
  const data = event.data;
  if (data === undefined || data === null) return { attributes };
  // It gives binary data of the structured mode as one number for each byte.
  if (ArrayBuffer.isView(data)) return { attributes, bytes: Buffer.from(Array.from(data)).toString("base64") };
  return typeof data === "string" ? { attributes, text: data } : { attributes, json: data };
}

function post(url, message) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers: message.headers }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode));
    });
    request.on("error", reject);
    request.end(message.body);
  });
}

async function send({ url, mode, events }) {
  const list = events.map(made);
  if (mode === "batch") {
    // The SDK has no batches; each event in it is the SDK's.
    return post(url, { headers: { "content-type": "application/cloudevents-batch+json" }, body: JSON.stringify(list) });
  }
  const emit = emitterFor((message) => post(url, message), { mode: mode === "structured" ? Mode.STRUCTURED : Mode.BINARY });
  return emit(list[0]);
}

function receive(request, answer, body) {
  const headers = {};
  // Node reads headers as Latin-1; UTF-8 is what events have.
  for (const [name, value] of Object.entries(request.headers)) headers[name] = Buffer.from(value, "latin1").toString();
  const type = headers["content-type"] || "";
  const text = /json|text|xml/.test(type) || body.length === 0;
  const event = HTTP.toEvent({ headers, body: body.length === 0 ? undefined : text ? body.toString() : new Uint8Array(body) });
  say({ path: request.url, ...told(event) });
  if (event.ask === undefined) {
    answer.writeHead(202).end();
    return;
  }
  const reply = new CloudEvent({
    id: `node.${event.id}`, source: "/node", type: "reply", subject: event.id,
    datacontenttype: "application/json", data: { by: "node" },
  });
  const message = event.ask === "structured" ? HTTP.structured(reply) : HTTP.binary(reply);
  answer.writeHead(200, message.headers).end(message.body);
}

const server = http.createServer((request, answer) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    try {
      receive(request, answer, Buffer.concat(parts));
    } catch (why) {
      say({ path: request.url, why: String(why.stack) });
      answer.writeHead(400).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
const input = readline.createInterface({ input: process.stdin });
input.on("line", async (line) => {
  try {
    say({ sent: await send(JSON.parse(line)) });
  } catch (why) {
    say({ sent: 0, why: String(why.stack) });
  }
});
input.on("close", () => process.exit(0));
