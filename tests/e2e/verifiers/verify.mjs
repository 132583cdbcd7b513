// Reads a JSON list of {key, headers, body} from standard input; answers, for each, who accepts it.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const accepts = (check) => {
  try {
    check();
    return true;
  } catch {
    return false;
  }
};

// No official library checks ed25519; Node's own cryptography is no library of ours either.
const ed25519 = (key, headers, body) => {
  const x = Buffer.from(key.slice("whpk_".length), "base64").toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  return headers["webhook-signature"]
    .split(" ")
    .map((entry) => entry.split(","))
    .some(([version, sig]) => version === "v1a" && verify(null, signed, publicKey, Buffer.from(sig, "base64")));
};

const answers = JSON.parse(readFileSync(0, "utf8")).map(({ key, headers, body }) =>
  key.startsWith("whpk_")
    ? { node: ed25519(key, headers, body) }
    : {
        standardwebhooks: accepts(() => new Standard(key).verify(body, headers)),
        svix: accepts(() => new Svix(key).verify(body, headers)),
      },
);
console.log(JSON.stringify(answers));
