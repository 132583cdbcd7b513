// A webhook handler on node:http: keeps each event once, answers, and asks the API afterwards, again until that works.
//
// The inbox is a file, a line an event. Amazon may send an event twice, and through two subscriptions with another
// idempotencyKey: one that has a known key or a known eventId is known. What is kept survives a crash.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { isAuthorized, learn, parse } from "./buy_with_prime.mjs";

const INBOX = process.env.INBOX ?? "inbox.jsonl";
const LARGEST = 1024 * 1024;
const seen = new Set();
const waiting = new Map();
let wake = () => {};

// Here your own work begins.
async function handle(event) {
  console.log(JSON.stringify(await learn(event)));
}

function remember(event) {
  seen.add(`key ${event.idempotencyKey}`).add(`id ${event.eventId}`);
  waiting.set(event.eventId, event);
}

function write(document) {
  appendFileSync(INBOX, "\n" + JSON.stringify(document), { flush: true });
}

async function hook(request) {
  if (request.method !== "POST" || request.url !== "/hook") return 404;
  if (!isAuthorized(request.headers.authorization)) return 401;
  const parts = [];
  let size = 0;
  for await (const part of request) if ((size += part.length) <= LARGEST) parts.push(part);
  if (size > LARGEST) return 413;
  let event;
  try {
    event = parse(Buffer.concat(parts).toString());
  } catch {
    return 400;
  }
  if (seen.has(`key ${event.idempotencyKey}`) || seen.has(`id ${event.eventId}`)) return 204;
  write(event);
  remember(event);
  wake();
  return 204;
}

async function work() {
  for (;;) {
    for (const event of waiting.values()) {
      try {
        await handle(event);
        write({ done: event.eventId });
        waiting.delete(event.eventId);
      } catch (error) {
        console.error(`event ${event.eventId} failed and is tried again: ${error.message}`);
      }
    }
    const news = new Promise((resolve) => (wake = resolve));
    await (waiting.size ? Promise.race([sleep(1000), news]) : news);
  }
}

for (const line of existsSync(INBOX) ? readFileSync(INBOX, "utf8").split("\n").filter(Boolean) : []) {
  let kept;
  try {
    kept = JSON.parse(line);
  } catch {
    continue; // Torn by a crash, so it was not answered and comes again.
  }
  if (kept.done) waiting.delete(kept.done);
  else remember(kept);
}
const server = createServer(async (request, response) => {
  response.statusCode = await hook(request).catch(() => 500);
  if (response.statusCode === 401) response.setHeader("www-authenticate", "Basic");
  response.end();
});
const port = Number(process.argv[2] ?? 3000);
server.listen(port, "127.0.0.1", () => console.error(`running on http://127.0.0.1:${port}`));
work();
