// Counts the tokens of texts with a published tokenizer.
//
// Usage: count.mjs NAME, where NAME is a key of `tokenizers`
//
// A line of input is a list of texts in JSON, and its answer a list of their counts, on one line. It never
// judges: the tests do. Nothing is loaded from anywhere but the installed packages.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// By their path, because modules are looked for beside the script, and the tests keep theirs elsewhere.
const packages = new URL("../../../.tools/vocabularies/", import.meta.url);
const load = createRequire(new URL("package.json", packages));
const module = (path) => import(new URL(`node_modules/${path}`, packages));

const tokenizers = {
  // As `countTokens` does it, which reads the vocabulary anew for every text.
  claude: async () => {
    const tokenizer = load("@anthropic-ai/tokenizer").getTokenizer();
    return (text) => tokenizer.encode(text.normalize("NFKC"), "all").length;
  },
  "llama-2": async () => {
    const { default: tokenizer } = await module("llama-tokenizer-js/llama-tokenizer.js");
    return (text) => tokenizer.encode(text, false, true).length;
  },
  "mistral-v1": async () => {
    const { default: tokenizer } = await module("mistral-tokenizer-js/mistral-tokenizer.js");
    return (text) => tokenizer.encode(text, false, true).length;
  },
};

const count = await tokenizers[process.argv[2]]();
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  console.log(JSON.stringify(JSON.parse(line).map(count)));
}
