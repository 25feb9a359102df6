// Opens JWEs by `jose`: reads `[{jwk, alg, enc, jwe}]`, prints what each holds.
import { text } from "node:stream/consumers";
import { compactDecrypt, importJWK } from "jose";

const opened = [];
for (const { jwk, alg, enc, jwe } of JSON.parse(await text(process.stdin))) {
  const only = { keyManagementAlgorithms: [alg], contentEncryptionAlgorithms: [enc] };
  const { plaintext } = await compactDecrypt(jwe, await importJWK(jwk, alg), only);
  opened.push(Buffer.from(plaintext).toString());
}
console.log(JSON.stringify(opened));
