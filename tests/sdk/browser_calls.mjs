// Calls the gateway as a web page does: OpenAI's official SDK over a `fetch` that keeps a browser's rules for
// requests to another origin. Prints one JSON line of facts; it never judges.
//
// Usage: browser_calls.mjs CALL, where CALL is chat, stream or me
//
// BASE_URL and API_KEY say where and as whom, ORIGIN is the page's own.

import OpenAI from "../../.tools/node/node_modules/openai/index.mjs";

const { BASE_URL, API_KEY, ORIGIN } = process.env;
const messages = [{ role: "user", content: "Hello from a page" }];
const model = "demo-1";

// https://fetch.spec.whatwg.org/#cors-safelisted-request-header, #cors-safelisted-response-header-name
const SAFE_METHODS = ["GET", "HEAD", "POST"];
const SAFE_TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
const SAFE_ANSWERS = ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];

const preflights = [];
const listed = (headers, name) => (headers.get(name) ?? "").split(",").map((word) => word.trim().toLowerCase());

function isUnsafe([name, value]) {
  if (["accept", "accept-language", "content-language"].includes(name)) return false;
  return name !== "content-type" || !SAFE_TYPES.includes(value.split(";")[0].trim().toLowerCase());
}

function check(answer, what) {
  const origin = answer.headers.get("access-control-allow-origin");
  if (origin !== "*" && origin !== ORIGIN) throw new TypeError(`Failed to fetch (${what}: ${answer.status}, origin ${origin})`);
}

async function preflight(url, method, unsafe) {
  const asks = { origin: ORIGIN, "access-control-request-method": method };
  if (unsafe.length) asks["access-control-request-headers"] = unsafe.join(",");
  const answer = await fetch(url, { method: "OPTIONS", headers: asks, redirect: "manual" });
  await answer.arrayBuffer();
  check(answer, "preflight");
  if (!answer.ok) throw new TypeError(`Failed to fetch (preflight: ${answer.status})`);
  const methods = listed(answer.headers, "access-control-allow-methods");
  if (!SAFE_METHODS.includes(method) && !methods.includes(method.toLowerCase())) throw new TypeError("Failed to fetch (method)");
  const allowed = listed(answer.headers, "access-control-allow-headers");
  // A star never stands for `authorization`.
  const refused = unsafe.filter((name) => !allowed.includes(name));
  if (refused.length) throw new TypeError(`Failed to fetch (headers ${refused})`);
  preflights.push({ status: answer.status, max_age: answer.headers.get("access-control-max-age") });
}

async function page(url, options = {}) {
  const request = new Request(url, options);
  const unsafe = [...request.headers].filter(isUnsafe).map(([name]) => name).sort();
  if (unsafe.length || !SAFE_METHODS.includes(request.method)) await preflight(url, request.method, unsafe);
  const headers = new Headers(request.headers);
  headers.set("origin", ORIGIN);
  const answer = await fetch(url, { ...options, headers });
  check(answer, "answer");
  const exposed = [...SAFE_ANSWERS, ...listed(answer.headers, "access-control-expose-headers")];
  const readable = [...answer.headers].filter(([name]) => exposed.includes(name));
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers: readable });
}

const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, fetch: page, maxRetries: 0, timeout: 30_000, dangerouslyAllowBrowser: true });

const calls = {
  async chat() {
    const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
    const left = response.headers.get("x-resullm-tokens-left");
    return { text: data.choices[0].message.content, request_id: response.headers.get("x-request-id"), left };
  },
  async stream() {
    let text = "";
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    return { text };
  },
  async me() {
    const answer = await page(BASE_URL.replace("/v1", "/auth/me"), { headers: { authorization: `Bearer ${API_KEY}` } });
    return { status: answer.status, body: await answer.json() };
  },
};

const facts = {};
try {
  facts.answer = await calls[process.argv[2]]();
} catch (error) {
  facts.refusal = { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null, why: String(error.cause ?? error) };
}
console.log(JSON.stringify({ ...facts, preflights }));
