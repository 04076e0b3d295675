// Receives Tributary's webhooks and verifies them by the `standardwebhooks` package of npm.
//
//   node standardwebhooks_receiver.mjs <port> <whsec_...>      (or PORT and SECRET; port 0 takes a free one)
//
// The package is looked for in NODE_MODULES, if set, else as always.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const folder = process.env.NODE_MODULES;
const { Webhook } = createRequire(folder ? join(folder, "..", "x.js") : import.meta.url)("standardwebhooks");

const port = Number(process.argv[2] ?? process.env.PORT ?? 8080);
const webhook = new Webhook(process.argv[3] ?? process.env.SECRET);

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const result = { verified: true, id: request.headers["webhook-id"], body: null };
    try {
      result.body = webhook.verify(Buffer.concat(parts).toString("utf8"), request.headers);
    } catch (error) {
      result.verified = false;
      result.error = error.message;
    }
    response.writeHead(result.verified ? 200 : 401).end();
    console.log(JSON.stringify(result));
  });
});
server.listen(port, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
