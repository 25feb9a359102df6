// A provider that speaks HTTP/2 alone: tells what it saw, then a trailer. Prints its port.
import { createSecureServer } from "node:http2";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const [certificate, key] = process.argv.slice(2);
const server = createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key) });
server.on("stream", (stream, headers) => {
  const parts = [];
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => {
    // HTTP/1.1 carries only the trailers that a `trailer` header names.
    const head = { ":status": 200, "content-type": "application/json", trailer: "x-checksum" };
    stream.respond(head, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": "4711" }));
    // By its hash: what holds the credential is not passed on as it is.
    const authorization = createHash("sha256").update(headers.authorization).digest("hex");
    const seen = { authorization, authority: headers[":authority"] };
    stream.end(JSON.stringify({ ...seen, body: Buffer.concat(parts).toString() }));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
