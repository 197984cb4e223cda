// Calls the gateway through Google's official Node SDK and prints one JSON line of facts.
//
// Usage: google_calls.mjs CALL [TIMES], where CALL is a name in `calls`
//
// BASE_URL and API_KEY say where and as whom, MODEL what to ask for. The call is repeated until it was made
// TIMES times or the SDK raised. It never judges: the tests do.

// By its path, because modules are looked for beside the script, and the tests keep theirs elsewhere.
import { ApiError, GoogleGenAI, Type } from "../../.tools/node/node_modules/@google/genai/dist/node/index.mjs";

const { BASE_URL, API_KEY, MODEL: model } = process.env;
// No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
const TIMEOUT_MILLIS = 30_000;
const prompt = "Hello from the Node SDK";
const weather = {
  name: "weather",
  description: "The weather of a city",
  parameters: { type: Type.OBJECT, properties: { city: { type: Type.STRING } }, required: ["city"] },
};
// A loop of tools that has no end must not run for ever.
const MOST_TURNS = 8;

// What a stream has brought, also where it ends in an exception.
let heard = [];

const facts = (answer) => ({
  text: answer.text,
  finish_reason: answer.candidates[0].finishReason,
  id: answer.responseId,
  total_tokens: answer.usageMetadata?.totalTokenCount ?? null,
});

const generate = async (client, config) =>
  facts(
    await client.models.generateContent({
      model,
      contents: prompt,
      config: { maxOutputTokens: 100, ...config },
    }),
  );

async function image(client) {
  const data = Buffer.from("89504e470d0a1a0a", "hex").toString("base64");
  const contents = [prompt, { inlineData: { mimeType: "image/png", data } }];
  return facts(await client.models.generateContent({ model, contents }));
}

async function stream(client) {
  let last;
  for await (const chunk of await client.models.generateContentStream({ model, contents: prompt })) {
    last = chunk;
    heard.push(chunk.text ?? "");
  }
  return { ...facts(last), text: heard.join("") };
}

// Answers the calls of every turn until there is none, streamed.
async function tools(client) {
  const contents = [{ role: "user", parts: [{ text: prompt }] }];
  const config = { tools: [{ functionDeclarations: [weather] }] };
  const called = [];
  for (let turns = 1; turns <= MOST_TURNS; turns += 1) {
    const parts = [];
    for await (const chunk of await client.models.generateContentStream({ model, contents, config })) {
      parts.push(...(chunk.candidates[0].content.parts ?? []));
    }
    const calls = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
    if (calls.length === 0) {
      return { text: parts.map((part) => part.text ?? "").join(""), turns, called };
    }
    called.push(...calls.map(({ name, args }) => ({ name, args })));
    contents.push({ role: "model", parts });
    const results = calls.map(({ id, name, args }) => ({
      functionResponse: { id, name, response: { output: `of ${args.city}` } },
    }));
    contents.push({ role: "user", parts: results });
  }
  return { turns: MOST_TURNS };
}

async function models(client) {
  const names = [];
  for await (const each of await client.models.list()) names.push(each.name);
  return { models: names };
}

const calls = {
  generate,
  "bad-generate": (client) => generate(client, { candidateCount: -1 }),
  image,
  stream,
  tools,
  "count-tokens": async (client) => ({
    total_tokens: (await client.models.countTokens({ model, contents: prompt })).totalTokens,
  }),
  models,
};

const refusalFacts = (error) => ({
  raised: error.constructor.name,
  status: error.status ?? null,
  message: error.message,
  heard: heard.join(""),
});

const [name, times = "1"] = process.argv.slice(2);
let attempts = 0;
const { fetch: send } = globalThis;
globalThis.fetch = (...request) => {
  attempts += 1;
  return send(...request);
};
const client = new GoogleGenAI({
  apiKey: API_KEY,
  httpOptions: { baseUrl: BASE_URL, timeout: TIMEOUT_MILLIS },
});

const answers = [];
let refusal = null;
while (answers.length < Number(times) && refusal === null) {
  attempts = 0;
  heard = [];
  try {
    answers.push({ ...(await calls[name](client)), attempts });
  } catch (error) {
    // A stream that breaks off raises without a type of its own.
    const isRefusal = error instanceof ApiError || /Incomplete JSON segment/.test(error.message);
    if (!isRefusal) throw error;
    refusal = { ...refusalFacts(error), attempts };
  }
}
console.log(JSON.stringify({ answers, refusal }));
