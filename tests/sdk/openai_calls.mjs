// Calls the gateway through OpenAI's official Node SDK and prints one JSON line of facts.
//
// Usage: openai_calls.mjs CALL [TIMES], where CALL is a name in `calls`
//
// BASE_URL and API_KEY say where and as whom, MODEL what to ask for; MAX_RETRIES replaces the SDK's own
// number. The call is repeated until it was made TIMES times or the SDK raised. It never judges: the
// tests do.

// By its path, because modules are looked for beside the script, and the tests keep theirs elsewhere.
import OpenAI, { toFile } from "../../.tools/node/node_modules/openai/index.mjs";

const { BASE_URL, API_KEY, MAX_RETRIES, MODEL: model } = process.env;
// No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
const TIMEOUT_MILLIS = 30_000;
const prompt = "Hello from the Node SDK";
const messages = [{ role: "user", content: prompt }];

// What a stream has brought, also where it ends in an exception.
let heard = [];

const imageData = "data:image/png;base64,aW1hZ2U=";
const imageUrl = "https://images.example/cat.png";

const usageFacts = (usage) =>
  usage && {
    prompt_tokens: usage.prompt_tokens,
    completion_tokens: usage.completion_tokens,
    total_tokens: usage.total_tokens,
  };

async function chat(client, options) {
  const answer = await client.chat.completions.create({ model, messages, ...options });
  const [choice] = answer.choices;
  return {
    text: choice.message.content,
    finish_reason: choice.finish_reason,
    usage: usageFacts(answer.usage),
    request_id: answer._request_id,
  };
}

// A chat about an image.
async function looking(client, url) {
  const image = { type: "image_url", image_url: { url } };
  const content = [{ type: "text", text: prompt }, image];
  const answer = await client.chat.completions.create({
    model,
    messages: [{ role: "user", content }],
  });
  return { text: answer.choices[0].message.content, total_tokens: answer.usage.total_tokens };
}

async function responsesLooking(client, url) {
  const content = [
    { type: "input_text", text: prompt },
    { type: "input_image", image_url: url, detail: "auto" },
  ];
  const answer = await client.responses.create({ model, input: [{ role: "user", content }] });
  return { text: answer.output_text, total_tokens: answer.usage.total_tokens };
}

async function stream(client, options) {
  const chunks = [];
  const choices = [];
  for await (const chunk of await client.chat.completions.create({
    model,
    messages,
    stream: true,
    ...options,
  })) {
    chunks.push(chunk);
    choices.push(...chunk.choices.slice(0, 1));
    heard.push(...chunk.choices.slice(0, 1).map((choice) => choice.delta.content).filter(Boolean));
  }
  return {
    text: heard.join(""),
    pieces: heard.length,
    finish_reason: choices.at(-1).finish_reason,
    chunks_without_choices: chunks.length - choices.length,
    chunks_with_usage: chunks.filter((chunk) => chunk.usage != null).length,
    usage: usageFacts(chunks.at(-1).usage) ?? null,
  };
}

async function responses(client) {
  const answer = await client.responses.create({ model, input: prompt });
  return { text: answer.output_text, total_tokens: answer.usage.total_tokens };
}

async function responsesStream(client) {
  let last;
  for await (const event of await client.responses.create({ model, input: prompt, stream: true })) {
    last = event;
    if (event.type === "response.output_text.delta") heard.push(event.delta);
  }
  return {
    text: heard.join(""),
    last: last.type,
    total_tokens: last.response.usage.total_tokens,
  };
}

async function completions(client) {
  const answer = await client.completions.create({ model, prompt });
  return { text: answer.choices[0].text, total_tokens: answer.usage.total_tokens };
}

async function completionsStream(client) {
  for await (const chunk of await client.completions.create({ model, prompt, stream: true })) {
    heard.push(chunk.choices[0].text);
  }
  return { text: heard.join("") };
}

async function embeddings(client) {
  // The SDK itself asks for base64, and decodes it.
  const answer = await client.embeddings.create({ model, input: prompt });
  return { vector: answer.data[0].embedding, total_tokens: answer.usage.total_tokens };
}

async function moderations(client) {
  const answer = await client.moderations.create({ model, input: prompt });
  return { flagged: answer.results[0].flagged };
}

async function images(client) {
  const answer = await client.images.generate({ model, prompt });
  return { image: answer.data[0].b64_json, total_tokens: answer.usage.total_tokens };
}

// A second of silence: 16-bit samples, 8000 of them.
function recording() {
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + 16_000, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(8_000, 24);
  head.writeUInt32LE(16_000, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36);
  head.writeUInt32LE(16_000, 40);
  const bytes = Buffer.concat([head, Buffer.alloc(16_000)]);
  return toFile(bytes, "silence.wav", { type: "audio/wav" });
}

async function transcription(client) {
  const answer = await client.audio.transcriptions.create({ model, file: await recording() });
  return { text: answer.text, total_tokens: answer.usage.total_tokens };
}

async function transcriptionText(client) {
  const file = await recording();
  const text = await client.audio.transcriptions.create({ model, file, response_format: "text" });
  return { text };
}

async function speech(client) {
  const sound = await client.audio.speech.create({ model, voice: "alloy", input: prompt });
  return { sound: [...new Uint8Array(await sound.arrayBuffer())] };
}

const calls = {
  chat,
  stream,
  "stream-with-usage": (client) => stream(client, { stream_options: { include_usage: true } }),
  "bad-chat": (client) => chat(client, { max_tokens: -1 }),
  "looking-at-data": (client) => looking(client, imageData),
  "looking-at-url": (client) => looking(client, imageUrl),
  "responses-looking-at-data": (client) => responsesLooking(client, imageData),
  "responses-looking-at-url": (client) => responsesLooking(client, imageUrl),
  responses,
  "responses-stream": responsesStream,
  completions,
  "completions-stream": completionsStream,
  embeddings,
  moderations,
  images,
  transcription,
  "transcription-text": transcriptionText,
  speech,
  "list-files": async (client) => ({ files: (await client.files.list()).data.length }),
};

const refusalFacts = (error) => ({
  raised: error.constructor.name,
  // An error within a stream comes without a status of its own.
  status: error.status ?? null,
  body: error.error ?? null,
  type: error.type ?? null,
  code: error.code ?? null,
  request_id: error.requestID ?? null,
  retry_after: error.headers?.get("retry-after") ?? null,
  heard: heard.join(""),
});

const [name, times = "1"] = process.argv.slice(2);
let attempts = 0;
const client = new OpenAI({
  baseURL: BASE_URL,
  apiKey: API_KEY,
  timeout: TIMEOUT_MILLIS,
  // Left out, it is the SDK's own.
  ...(MAX_RETRIES && { maxRetries: Number(MAX_RETRIES) }),
  // The SDK retries behind its caller's back; here every request it sends is counted. Before it sends
  // a form it tries `fetch` on a URL of its own, and that is none.
  fetch: (url, ...options) => {
    attempts += String(url).startsWith(BASE_URL) ? 1 : 0;
    return fetch(url, ...options);
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
    if (!(error instanceof OpenAI.APIError) || error instanceof OpenAI.APIConnectionError) {
      throw error;
    }
    refusal = { ...refusalFacts(error), attempts };
  }
}
console.log(JSON.stringify({ answers, refusal }));
