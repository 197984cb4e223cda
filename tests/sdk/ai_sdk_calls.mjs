// Calls the gateway through Vercel's AI SDK and prints one JSON line: a list of facts, one for each call.
//
// Each of its clients asks plainly, streamed, and with a tool. BASE_URL (without the v1) and API_KEY say
// where and as whom, PLAIN and TOOL what is asked. It never judges: the tests do.

import { createRequire } from "node:module";

// From where the tests keep them, because modules are looked for beside the script.
const installed = createRequire(new URL("../../.tools/node/", import.meta.url));
const load = (name) => import(installed.resolve(name));
const { generateText, isStepCount, jsonSchema, streamText, tool } = await load("ai");
const { createOpenAI } = await load("@ai-sdk/openai");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { createAnthropic } = await load("@ai-sdk/anthropic");

const { BASE_URL, API_KEY: apiKey, PLAIN, TOOL } = process.env;
const baseURL = `${BASE_URL}/v1`;
const openai = createOpenAI({ baseURL, apiKey });
const like = { name: "gateway", baseURL, apiKey };

const clients = {
  responses: openai("gpt-4o"),
  chat: openai.chat("gpt-4o"),
  like: createOpenAICompatible(like)("our-model"),
  "like-with-usage": createOpenAICompatible({ ...like, includeUsage: true })("our-model"),
  messages: createAnthropic({ baseURL, apiKey })("claude-sonnet-4-5"),
};

const schema = jsonSchema({
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
});
const weather = tool({
  description: "The weather in a city",
  inputSchema: schema,
  execute: async ({ city }) => `Sunny in ${city}`,
});
const bounds = () => ({ maxRetries: 0, abortSignal: AbortSignal.timeout(30_000) });

const calls = {
  async plain(model) {
    const answer = await generateText({ model, prompt: PLAIN, ...bounds() });
    return { text: answer.text, used: answer.usage.totalTokens ?? null };
  },
  async stream(model) {
    let failure;
    const onError = ({ error }) => (failure = error);
    const answer = streamText({ model, prompt: PLAIN, onError, ...bounds() });
    const pieces = [];
    for await (const text of answer.textStream) pieces.push(text);
    if (failure) throw failure;
    const used = (await answer.usage).totalTokens ?? null;
    return { text: pieces.join(""), used, pieces: pieces.length };
  },
  async tool(model) {
    const answer = await generateText({
      model,
      prompt: TOOL,
      tools: { weather },
      stopWhen: isStepCount(2),
      ...bounds(),
    });
    const results = answer.steps.flatMap((step) => step.toolResults.map(({ output }) => output));
    return { text: answer.text, used: answer.totalUsage.totalTokens ?? null, results };
  },
};

const facts = [];
for (const [client, model] of Object.entries(clients)) {
  for (const [call, make] of Object.entries(calls)) {
    facts.push({ client, call, ...(await make(model)) });
  }
}
console.log(JSON.stringify(facts));
