// Calls the gateway through OpenAI's official Node SDK and prints one JSON line of facts.
//
// Usage: openai_calls.mjs chat|stream|stream-with-usage|list-files [TIMES]
//
// GATEWAY, TENANT and API_KEY say where and as whom; MAX_RETRIES replaces the SDK's own number. The
// call is repeated until it was made TIMES times or the SDK raised. It never judges: the tests do.

// By its path, because modules are looked for beside the script, and the tests keep theirs elsewhere.
import OpenAI from "../../.tools/node/node_modules/openai/index.mjs";

// No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
const TIMEOUT_MILLIS = 30_000;
const messages = [{ role: "user", content: "Hello from the Node SDK" }];

const usageFacts = (usage) =>
  usage && {
    prompt_tokens: usage.prompt_tokens,
    completion_tokens: usage.completion_tokens,
    total_tokens: usage.total_tokens,
  };

async function chat(client) {
  const answer = await client.chat.completions.create({ model: "demo-1", messages });
  const [choice] = answer.choices;
  return {
    text: choice.message.content,
    finish_reason: choice.finish_reason,
    usage: usageFacts(answer.usage),
    request_id: answer._request_id,
  };
}

async function stream(client, options) {
  const chunks = [];
  for await (const chunk of await client.chat.completions.create({
    model: "demo-1",
    messages,
    stream: true,
    ...options,
  })) {
    chunks.push(chunk);
  }
  const choices = chunks.flatMap((chunk) => chunk.choices.slice(0, 1));
  const pieces = choices.map((choice) => choice.delta.content).filter(Boolean);
  return {
    text: pieces.join(""),
    pieces: pieces.length,
    finish_reason: choices.at(-1).finish_reason,
    chunks_without_choices: chunks.length - choices.length,
    chunks_with_usage: chunks.filter((chunk) => chunk.usage != null).length,
    usage: usageFacts(chunks.at(-1).usage) ?? null,
  };
}

const calls = {
  chat,
  stream,
  "stream-with-usage": (client) => stream(client, { stream_options: { include_usage: true } }),
  "list-files": async (client) => ({ files: (await client.files.list()).data.length }),
};

const refusalFacts = (error) => ({
  raised: error.constructor.name,
  status: error.status,
  body: error.error ?? null,
  type: error.type ?? null,
  code: error.code ?? null,
  request_id: error.requestID ?? null,
  retry_after: error.headers.get("retry-after"),
});

const { GATEWAY, TENANT, API_KEY, MAX_RETRIES } = process.env;
const [name, times = "1"] = process.argv.slice(2);
let attempts = 0;
const client = new OpenAI({
  baseURL: `${GATEWAY}/${TENANT}/v1`,
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
  try {
    answers.push({ ...(await calls[name](client)), attempts });
  } catch (error) {
    // Without a status nothing answered, and that is no refusal.
    if (!(error instanceof OpenAI.APIError) || error.status === undefined) throw error;
    refusal = { ...refusalFacts(error), attempts };
  }
}
console.log(JSON.stringify({ answers, refusal }));
