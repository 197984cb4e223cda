// Calls of the gateway, without a word about the page. A key is sent in the header `Authorization` and nowhere else.
import { config } from "./config.js";

const base = `${config.gateway}/${config.tenant}`;

// A call that failed, with a message for people. `isKeyUnknown`: the key that was sent has expired or was revoked.
export class Failed extends Error {
  constructor(message, isKeyUnknown = false) {
    super(message);
    this.isKeyUnknown = isKeyUnknown;
  }
}

// Where a browser goes to sign in.
export const signInAddress = (query) => `${base}/auth/${config.signIn}/start?${query}`;

// {apiKey, tokensLeft, expiresAt, …}: a new anonymous key. It sends no header of its own, so it needs no preflight.
export const mint = () => callForJson("POST", "auth/anonymous");

// {apiKey, tokensLeft, created, carriedOver, …}: a key for the code of a sign-in. What is left of the visitor's key
// moves to the account that begins with this sign-in.
export const redeem = (code, codeVerifier, visitorKey) =>
  callForJson("POST", "auth/token", { key: visitorKey, body: { code, codeVerifier } });

// {tokensLeft, tokensFree, keyId, …}: the account that the key opens.
export const account = (key) => callForJson("GET", "auth/me", { key });

// Ends a key of the account: calls with it are refused from now on, on every gateway.
export const revoke = (key, keyId) => callForJson("DELETE", `auth/keys/${encodeURIComponent(keyId)}`, { key });

// The pieces of an answer as they come. Leaving the loop, or aborting the signal, ends the call.
export async function* chat(key, messages, signal) {
  const body = { messages, max_tokens: config.maxTokens, stream: true };
  const answer = await call("POST", "v1/chat/completions", { key, body, signal });
  let isWhole = false;
  // Read to its very end, so that the connection can be used again.
  for await (const data of eventData(answer.body)) {
    if (data === "[DONE]") {
      isWhole = true;
      continue;
    }
    const { error, choices } = JSON.parse(data);
    if (error) throw new Failed(`The answer broke off: ${error.message ?? error}`);
    const text = choices?.[0]?.delta?.content;
    if (text) yield text;
  }
  if (!isWhole) throw new Failed("The answer broke off.");
}

// The `data` of each server-sent event, however the bytes were cut into chunks on their way.
export async function* eventData(body) {
  let data = [];
  for await (const line of lines(body)) {
    if (line === "" && data.length) {
      yield data.join("\n");
      data = [];
    } else if (line.startsWith("data:")) {
      data.push(line.slice(line[5] === " " ? 6 : 5));
    }
    // Comments such as `: keep-alive`, and the fields `event`, `id` and `retry`, say nothing that is needed here.
  }
  // An event without its empty line is not whole, and is dropped.
}

// Lines end with \r\n, \n or \r. A \r at the end of a chunk may be the first half of \r\n, so it waits.
async function* lines(body) {
  // The decoder keeps the first bytes of a character until the others come.
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) {
        if (rest.endsWith("\r")) yield rest.slice(0, -1);
        return;
      }
      const parts = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = parts.pop();
      yield* parts;
    }
  } catch (error) {
    throw failure(error);
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function callForJson(method, path, options) {
  return (await call(method, path, options)).json();
}

async function call(method, path, { key, body, signal } = {}) {
  const headers = {};
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`${base}/${path}`, { method, headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    throw failure(error);
  }
  if (answer.ok) return answer;
  // A refused code says nothing of the key that is sent along with it.
  throw new Failed(await inWords(answer), answer.status === 401 && path !== "auth/token");
}

// To a page, a refusal by CORS and a gateway that is down look the same.
function failure(error) {
  if (error instanceof Failed || error.name === "AbortError") return error;
  return new Failed("The gateway cannot be reached, or it does not know this page's origin.");
}

async function inWords(answer) {
  // Provider routes answer {"error":{"message","code"}}, those of the gateway itself {"error":"…"}.
  const { error } = await answer.json().catch(() => ({}));
  const wait = answer.headers.get("retry-after");
  if (answer.status === 402) return "Your tokens do not suffice for this question.";
  if (answer.status === 429) return `Too much at once. Try again in ${wait ?? "a few"} seconds.`;
  if (answer.status >= 500) return "The model cannot answer at the moment. Try again later.";
  return error?.message ?? error ?? `The gateway answered ${answer.status}.`;
}
