// Calls the gateway through Anthropic's official Node SDK and prints one JSON line of facts.
//
// Usage: anthropic_calls.mjs CALL [TIMES], where CALL is a name in `calls`
//
// BASE_URL and API_KEY say where and as whom, MODEL what to ask for; MAX_RETRIES replaces the SDK's own
// number. The call is repeated until it was made TIMES times or the SDK raised. It never judges: the
// tests do.

// By its path, because modules are looked for beside the script, and the tests keep theirs elsewhere.
import Anthropic from "../../.tools/node/node_modules/@anthropic-ai/sdk/index.mjs";

const { BASE_URL, API_KEY, MAX_RETRIES, MODEL: model } = process.env;
// No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
const TIMEOUT_MILLIS = 30_000;
const prompt = { model, messages: [{ role: "user", content: "Hello from the Node SDK" }] };
const asked = { ...prompt, max_tokens: 100 };

// What a stream has brought, also where it ends in an exception.
let heard = [];

const imageData = { type: "base64", media_type: "image/png", data: "aW1hZ2U=" };
const imageUrl = { type: "url", url: "https://images.example/cat.png" };

const messageFacts = (message) => ({
  text: message.content[0].text,
  stop_reason: message.stop_reason,
  input_tokens: message.usage.input_tokens,
  output_tokens: message.usage.output_tokens,
});

async function message(client, options) {
  const answer = await client.messages.create({ ...asked, ...options });
  return { ...messageFacts(answer), request_id: answer._request_id };
}

// A message about an image.
async function looking(client, source) {
  const text = { type: "text", text: prompt.messages[0].content };
  const content = [text, { type: "image", source }];
  return message(client, { messages: [{ role: "user", content }] });
}

async function beta(client) {
  const betas = ["first-beta", "second-beta"];
  return messageFacts(await client.beta.messages.create({ ...asked, betas }));
}

async function stream(client) {
  let last;
  for await (const event of await client.messages.create({ ...asked, stream: true })) {
    last = event;
    if (event.type === "content_block_delta") heard.push(event.delta.text);
  }
  return { text: heard.join(""), last: last.type };
}

async function streamHelper(client) {
  const events = client.messages.stream(asked).on("text", (text) => heard.push(text));
  return { ...messageFacts(await events.finalMessage()), text: heard.join("") };
}

async function countTokens(client) {
  return { input_tokens: (await client.messages.countTokens(prompt)).input_tokens };
}

const calls = {
  message,
  "bad-message": (client) => message(client, { max_tokens: -1 }),
  "looking-at-data": (client) => looking(client, imageData),
  "looking-at-url": (client) => looking(client, imageUrl),
  beta,
  stream,
  "stream-helper": streamHelper,
  "count-tokens": countTokens,
  "list-batches": async (client) => ({
    batches: (await client.messages.batches.list()).data.length,
  }),
};

const refusalFacts = (error) => ({
  raised: error.constructor.name,
  // An error within a stream comes without a status of its own.
  status: error.status ?? null,
  body: error.error ?? null,
  type: error.type ?? null,
  request_id: error.requestID ?? null,
  retry_after: error.headers?.get("retry-after") ?? null,
  heard: heard.join(""),
});

const [name, times = "1"] = process.argv.slice(2);
let attempts = 0;
const client = new Anthropic({
  baseURL: BASE_URL,
  apiKey: API_KEY,
  timeout: TIMEOUT_MILLIS,
  // Left out, it is the SDK's own.
  ...(MAX_RETRIES && { maxRetries: Number(MAX_RETRIES) }),
  // The SDK retries behind its caller's back; here every request it sends is counted.
  fetch: (...request) => {
    attempts += 1;
    return fetch(...request);
  },
});

const answers = [];
let refusal = null;
while (answers.length < Number(times) && refusal === null) {
  attempts = 0;
  heard = [];
  try {
    answers.push({ ...(await calls[name](client)), attempts });
  } catch (error) {
    // Where nothing answered, that is no refusal.
    if (!(error instanceof Anthropic.APIError) || error instanceof Anthropic.APIConnectionError) {
      throw error;
    }
    refusal = { ...refusalFacts(error), attempts };
  }
}
console.log(JSON.stringify({ answers, refusal }));
