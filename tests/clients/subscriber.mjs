// Receives Tributary's webhooks: checks the signature over the raw body, then answers.
//
//   node subscriber.mjs <port> <secret>      (or PORT and SECRET; port 0 takes a free one)
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const port = Number(process.argv[2] ?? process.env.PORT ?? 8080);
const secret = process.argv[3] ?? process.env.SECRET;
if (!secret) throw new Error("give the webhook's secret as the second argument or in SECRET");

function verified(rawBody, signature) {
  const expected = Buffer.from(createHmac("sha256", secret).update(rawBody).digest("base64url"));
  const given = Buffer.from(String(signature ?? ""));
  // timingSafeEqual wants equal lengths; the length of a signature is no secret.
  return given.length === expected.length && timingSafeEqual(given, expected);
}

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const rawBody = Buffer.concat(parts); // the bytes as sent: parse only after they are verified
    const ok = verified(rawBody, request.headers["x-stackone-signature"]);
    response.writeHead(ok ? 200 : 401).end();
    const line = { verified: ok, id: request.headers["webhook-id"], body: ok ? JSON.parse(rawBody) : null };
    console.log(JSON.stringify(line));
  });
});
server.listen(port, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
