// Calls the gateway over TLS through the official Node SDKs, and over HTTP/2 with Node's own client.
//
// BASE_URL says where, without a version, API_KEY as whom, NODE_EXTRA_CA_CERTS whom to trust, LIBRARIES where the SDKs
// are. Prints one JSON line of facts and never judges: the test does.
import { connect } from "node:http2";
import { createRequire } from "node:module";

const load = createRequire(`${process.env.LIBRARIES}/`);
const OpenAI = load("openai").default ?? load("openai");
const Anthropic = load("@anthropic-ai/sdk").default ?? load("@anthropic-ai/sdk");

const { BASE_URL: url, API_KEY: key } = process.env;
const messages = [{ role: "user", content: "Hello over TLS" }];
const model = "demo-1";

const openai = (apiKey) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const anthropic = (apiKey) => new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });

async function raised(call) {
  try {
    await call();
  } catch (error) {
    return error.constructor.name;
  }
  return null;
}

const chat = await openai(key).chat.completions.create({ model, messages });
let streamed = "";
for await (const chunk of await openai(key).chat.completions.create({ model, messages, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
const message = await anthropic(key).messages.create({ model, messages, max_tokens: 100 });
const told = await anthropic(key).messages.stream({ model, messages, max_tokens: 100 }).finalMessage();

// Several calls side by side on one connection.
const target = new URL(url);
const session = connect(target.origin);
const ask = () =>
  new Promise((resolve, reject) => {
    const request = session.request({
      ":method": "POST",
      ":path": `${target.pathname}/v1/chat/completions`,
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
    });
    let status = 0;
    let body = "";
    request.setEncoding("utf8");
    request.on("response", (headers) => (status = headers[":status"]));
    request.on("data", (piece) => (body += piece));
    request.on("end", () => resolve({ status, text: JSON.parse(body).choices?.[0]?.message?.content }));
    request.on("error", reject);
    request.end(JSON.stringify({ model, messages }));
  });
const sideBySide = await Promise.all(Array.from({ length: 8 }, ask));
session.close();

console.log(
  JSON.stringify({
    openai: chat.choices[0].message.content,
    openai_streamed: streamed,
    anthropic: message.content[0].text,
    anthropic_streamed: told.content[0].text,
    openai_raised: await raised(() => openai("temp_unknown").chat.completions.create({ model, messages })),
    anthropic_raised: await raised(() => anthropic("temp_unknown").messages.create({ model, messages, max_tokens: 9 })),
    side_by_side: sideBySide,
  }),
);
