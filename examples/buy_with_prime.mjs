// What the Node example needs of Buy with Prime: who may call, what an event says, what the API adds.
//
// WEBHOOK_USERNAME and WEBHOOK_PASSWORD are what the subscription presents; BWP_API_URL, BWP_CLIENT_ID,
// BWP_CLIENT_SECRET and BWP_TARGET_ID are for the API.
import { timingSafeEqual } from "node:crypto";

const { env } = process;
const API = env.BWP_API_URL ?? "https://api.buywithprime.amazon.com";
const ORDER = `query ($id: ID!) { order(orderIdentifier: { orderId: $id }) { id packageInformation {
  summary { state } details { id state packageTracker { trackingUrl
    packageTrackerIdentifier { carrierCode trackingNumber } } } } } }`;
const TRACKER = `query ($id: PackageTrackerIdentifierInput!) {
  packageTracker(packageTrackerInput: { packageTrackerIdentifier: $id }) {
    trackingUrl latestMilestone { occurredAt status { code } } estimatedDeliveryDate { earliest latest } } }`;

// Whether the Authorization header has the user name and the password of the subscription.
export function isAuthorized(given = "") {
  const pair = Buffer.from(`${env.WEBHOOK_USERNAME}:${env.WEBHOOK_PASSWORD}`).toString("base64");
  const [a, b] = [Buffer.from(given), Buffer.from(`Basic ${pair}`)];
  return a.length === b.length && timingSafeEqual(a, b);
}

// The event of a webhook body, or of an EventBridge document. Throws for anything else.
export function parse(body) {
  const document = JSON.parse(body);
  const event = document.detail ?? document;
  for (const name of ["idempotencyKey", "eventId", "eventDescriptor"])
    if (typeof event[name] !== "string" || !event[name]) throw new Error(`${name} is missing, or no text`);
  event.resources.forEach(pairsOf);
  return event;
}

// businessProduct/bp-1/order/o-1/delivery/d-1 by its keys. Never by position: a milestone's resource has an order in
// it, or not.
function pairsOf(resource) {
  const parts = resource.split("/");
  if (parts.length % 2 || parts.includes("")) throw new Error(`${resource} is no resource`);
  return Object.fromEntries(parts.flatMap((key, n) => (n % 2 ? [] : [[key, parts[n + 1]]])));
}

// What an event is about and how that stands now: events are thin, and may come late or out of order.
export async function learn(event) {
  const ids = Object.assign({}, ...event.resources.map(pairsOf));
  let answer = null;
  if (ids.tracker) {
    const id = { carrierCode: ids.carrier, trackingNumber: ids.tracker };
    answer = (await ask(TRACKER, { id }, ids.businessProduct)).packageTracker;
  } else if (ids.order) {
    answer = (await ask(ORDER, { id: ids.order }, ids.businessProduct)).order;
  }
  return { eventId: event.eventId, type: event.eventDescriptor, ...ids, answer };
}

let token = { value: "", until: 0 };

async function ask(query, variables, target) {
  if (Date.now() >= token.until) {
    const client = { client_id: env.BWP_CLIENT_ID, client_secret: env.BWP_CLIENT_SECRET };
    const got = await post("/token", new URLSearchParams({ grant_type: "client_credentials", ...client }), {});
    token = { value: got.access_token, until: Date.now() + (got.expires_in - 60) * 1000 };
  }
  const answer = await post("/graphql", JSON.stringify({ query, variables }), {
    authorization: `Bearer ${token.value}`,
    "content-type": "application/json",
    "x-api-target-id": env.BWP_TARGET_ID ?? target,
    "x-api-version": "2024-11-01",
  });
  // An answer 200 may hold errors.
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data;
}

async function post(path, body, headers) {
  const answer = await fetch(API + path, { method: "POST", body, headers, signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}
