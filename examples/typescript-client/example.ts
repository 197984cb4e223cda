// A visitor gets a key and sees its balance; an admin adds to it, and reads what the key has now.
import { GatewayError, creditKey, me, showKey, signInAnonymously } from "./client.ts";
import type { Gateway } from "./client.ts";

// Without the types of Node.js, which this needs for nothing else.
declare const process: { env: Record<string, string | undefined> };

const gateway: Gateway = {
  baseUrl: process.env["GATEWAY"] ?? "http://localhost:3000",
  tenant: process.env["TENANT"] ?? "demo",
  adminToken: process.env["ADMIN_TOKEN"] ?? "open-sesame",
};

const { apiKey } = await signInAnonymously(gateway);
const visitor = { ...gateway, key: apiKey };
const before = await me(visitor);
console.log(`A visitor has ${before.tokensLeft} tokens.`);

// The same id counts once, so this is safe to repeat.
const credit = { key: apiKey, body: { tokens: 50, id: "welcome" } };
await creditKey(gateway, credit);
await creditKey(gateway, credit);
const account = await showKey(gateway, { key: apiKey });
console.log(`An admin sees ${account.tokensLeft} of group ${account.group}.`);

try {
  await me({ ...gateway, key: "nobody" });
} catch (error) {
  if (!(error instanceof GatewayError)) throw error;
  console.log(`Refused with ${error.status}: ${error.message}`);
}
