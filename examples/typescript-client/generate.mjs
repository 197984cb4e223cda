// Writes a client for TypeScript from the gateway's OpenAPI document: node generate.mjs openapi.json client.ts
//
// Each schema becomes a type, and each operation of the gateway's own routes a function. Calls that are forwarded to a
// provider (tag `provider`) are left out: the provider's own SDK makes them. The same document gives the same bytes.
import { readFileSync, writeFileSync } from "node:fs";

const METHODS = ["get", "head", "post", "put", "patch", "delete"];
const WIDTH = 118;
// Names that mean something else in TypeScript already.
const TAKEN = new Set(["Array", "Date", "Error", "Map", "Object", "Promise", "Record", "Request", "Response", "Set"]);
const RESERVED = new Set(["delete", "export", "function", "import", "new", "return", "switch", "void", "with"]);
const ADMIN_SCHEMES = ["admin", "operator"];

const [source, target] = process.argv.slice(2);
if (!source || !target) {
  console.error("usage: node generate.mjs openapi.json client.ts");
  process.exit(2);
}
const api = JSON.parse(readFileSync(source, "utf8"));

// The part of the client that no document changes.
const CORE = `// Where a gateway is, and as whom it is called.
export interface Gateway {
  /** Such as \`https://gateway.example\`, with the path below which the gateway is, if there is one. */
  baseUrl: string;
  /** Tenant of the routes below \`/{tenant}\`. Absent: \`default\`. */
  tenant?: string;
  /** An end user's key, for the routes that ask for one. */
  key?: string;
  /** An admin's or the operator's token, for the routes that ask for one. */
  adminToken?: string;
  /** Further headers of every call. */
  headers?: Record<string, string>;
  /** Cancels the call. */
  signal?: AbortSignal;
  /** Sees each answer before its body is read: headers such as \`etag\` are there. */
  onResponse?: (response: Response) => void;
  /** In place of the global \`fetch\`. */
  fetch?: typeof fetch;
}

/** The gateway refused a call. */
export class GatewayError extends globalThis.Error {
  override readonly name = "GatewayError";
  readonly status: number;
  /** The answer's body, where it is JSON. */
  readonly body: GatewayErrorBody | undefined;
  /** Names the request in the gateway's log. */
  readonly requestId: string | undefined;
  /** Seconds to wait before the next try. */
  readonly retryAfter: number | undefined;

  constructor(response: Response, body: GatewayErrorBody | undefined) {
    super(body?.error ?? \`The gateway answered \${response.status}\`);
    const wait = Number(response.headers.get("retry-after"));
    this.status = response.status;
    this.body = body;
    this.requestId = response.headers.get("x-request-id") ?? undefined;
    this.retryAfter = wait > 0 ? wait : undefined;
  }
}

interface Call {
  method: string;
  path: string;
  query?: Record<string, string | number | boolean | null | undefined>;
  headers?: Record<string, string | undefined>;
  credential?: string | undefined;
  json?: unknown;
  form?: object;
}

const segment = (text: string | number): string => encodeURIComponent(text);

function address(gateway: Gateway, { path, query }: Pick<Call, "path" | "query">): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) given.append(name, String(value));
  }
  const search = given.toString();
  return gateway.baseUrl.replace(/\\/+$/, "") + path + (search && \`?\${search}\`);
}

async function send(gateway: Gateway, call: Call): Promise<Response> {
  const headers = new Headers(gateway.headers);
  if (call.credential !== undefined) headers.set("authorization", \`Bearer \${call.credential}\`);
  for (const [name, value] of Object.entries(call.headers ?? {})) {
    if (value !== undefined) headers.set(name, value);
  }
  const init: RequestInit = { method: call.method, headers, redirect: "manual" };
  if (gateway.signal) init.signal = gateway.signal;
  if (call.json !== undefined) {
    headers.set("content-type", "application/json");
    init.body = JSON.stringify(call.json);
  } else if (call.form) {
    const fields = Object.entries(call.form).filter(([, value]) => value !== undefined && value !== null);
    init.body = new URLSearchParams(fields.map(([name, value]) => [name, String(value)]));
  }
  const response = await (gateway.fetch ?? fetch)(address(gateway, call), init);
  gateway.onResponse?.(response);
  // A browser shows a redirect as one of status 0.
  if (response.status >= 400) {
    const body: unknown = await response.json().catch(() => undefined);
    throw new GatewayError(response, body as GatewayErrorBody | undefined);
  }
  return response;
}
`;

function resolve(value) {
  let found = value ?? {};
  while (found.$ref) {
    const names = found.$ref.split("/").slice(1).map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
    found = names.reduce((at, name) => at?.[name], api) ?? {};
  }
  return found;
}

// ---- Text

const typeName = (name) => name.replace(/\W/g, "_").replace(/^(?=\d)/, "_") + (TAKEN.has(name) ? "Schema" : "");
const functionName = (id) => typeName(id) + (RESERVED.has(id) ? "_" : "");
const propertyName = (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));
// A parameter such as If-Match is \`ifMatch\` in a program.
const argumentName = (name) =>
  propertyName(name.includes("-") ? name.replace(/^./, (c) => c.toLowerCase()).replace(/-(.)/g, (_, c) => c.toUpperCase()) : name);
const indented = (text, by = "  ") => text.split("\n").map((line) => line && by + line).join("\n");

function comment(...texts) {
  const words = texts.filter(Boolean).join(" ").replaceAll("*/", "*\\/").split(/\s+/).filter(Boolean);
  if (!words.length) return "";
  const lines = [""];
  for (const word of words) {
    const line = lines.at(-1);
    if (line && line.length + word.length + 1 > WIDTH - 6) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines.length === 1 ? `/** ${lines[0]} */\n` : `/**\n${lines.map((line) => ` * ${line}\n`).join("")} */\n`;
}

// ---- Types

const union = (types) => {
  const each = [...new Set(types)];
  return each.includes("unknown") ? "unknown" : each.join(" | ");
};
const grouped = (type) => (/ [|&] /.test(type) ? `(${type})` : type);

function typeOf(schema) {
  if (!schema || typeof schema !== "object") return "unknown";
  if (schema.$ref) return typeName(schema.$ref.split("/").pop());
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return union(schema.enum.map((one) => JSON.stringify(one)));
  const variants = schema.oneOf ?? schema.anyOf;
  const chosen = variants ? union(variants.map(typeOf)) : "unknown";
  const named = [schema.type ?? (schema.properties ? "object" : [])].flat();
  const own = named.length ? union(named.map((type) => typeOfKind(type, schema))) : "unknown";
  const all = [own, chosen, ...(schema.allOf ?? []).map(typeOf)].filter((type) => type !== "unknown");
  return all.length > 1 ? all.map(grouped).join(" & ") : (all[0] ?? "unknown");
}

function typeOfKind(type, schema) {
  switch (type) {
    case "integer": case "number": return "number";
    case "array": return `${grouped(typeOf(schema.items))}[]`;
    case "object": return objectOf(schema);
    default: return type;
  }
}

function objectOf({ properties, required, additionalProperties: others }) {
  if (!properties) return `Record<string, ${others && typeof others === "object" ? typeOf(others) : "unknown"}>`;
  const needed = new Set(required);
  const members = Object.entries(properties).map(([name, schema]) => {
    const mark = needed.has(name) ? "" : "?";
    return `${comment(schema.description)}${propertyName(name)}${mark}: ${typeOf(schema)};\n`;
  });
  if (others) members.push("[name: string]: unknown;\n");
  return members.length ? `{\n${indented(members.join(""))}}` : "Record<string, unknown>";
}

const declared = ([name, schema]) => `${comment(schema.description)}export type ${typeName(name)} = ${typeOf(schema)};\n`;

// ---- Operations

function operations() {
  const all = [];
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      if (operation.tags?.includes("provider")) continue;
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
      all.push({ path, method, operation, parameters });
    }
  }
  return all;
}

const replies = (operation) => Object.entries(operation.responses).map(([status, reply]) => [status, resolve(reply)]);

function jsonOf(reply) {
  return reply.content?.["application/json"]?.schema;
}

// Types of all bodies of errors.
function errorBodies(all) {
  const failed = all.flatMap(({ operation }) => replies(operation)).filter(([status]) => status >= "4");
  const schemas = failed.flatMap(([, reply]) => jsonOf(reply) ?? []);
  return union(schemas.map(typeOf));
}

// How an operation's answer is read: its type, and the expression for it.
function answerOf({ method, path, operation }) {
  const good = replies(operation).filter(([status]) => status < "4").map(([, reply]) => reply);
  if (method === "get" && good.every((reply) => !reply.content)) return { isAddress: true };
  const types = good.flatMap((reply) => (jsonOf(reply) ? typeOf(jsonOf(reply)) : []));
  if (types.length) return { type: union(types), read: "response.json()" };
  if (good.some((reply) => reply.content)) return { type: "string", read: "response.text()" };
  return { type: "void" };
}

// Members of the argument of a function, and where each goes.
function argumentsOf({ path, parameters, operation }) {
  const own = parameters.filter((one) => !(one.name === "tenant" && path.startsWith("/{tenant}")));
  const members = own.map((one) => ({
    ...one, argument: argumentName(one.name), isNeeded: Boolean(one.required), type: typeOf(one.schema),
  }));
  const body = resolve(operation.requestBody);
  for (const [media, { schema }] of Object.entries(body.content ?? {}).slice(0, 1)) {
    const about = resolve(schema).description;
    members.push({
      name: "body", in: media === "application/json" ? "json" : "form", argument: "body", description: about,
      isNeeded: Boolean(body.required), type: typeOf(schema),
    });
  }
  return members;
}

const access = (member) => (member.argument.startsWith('"') ? `given[${member.argument}]` : `given.${member.argument}`);

function pathOf(path, members) {
  const pieces = path.split(/(\{[^}]+\})/).filter(Boolean).map((piece) => {
    if (!piece.startsWith("{")) return JSON.stringify(piece);
    const member = members.find((one) => one.in === "path" && one.name === piece.slice(1, -1));
    return `segment(${member ? access(member) : 'gateway.tenant ?? "default"'})`;
  });
  return pieces.join(" + ");
}

function credentialOf(operation) {
  const schemes = (operation.security ?? api.security ?? []).flatMap((way) => Object.keys(way));
  if (!schemes.length) return undefined;
  return schemes.some((name) => ADMIN_SCHEMES.includes(name)) ? "gateway.adminToken" : "gateway.key";
}

function written(entry) {
  const { path, method, operation } = entry;
  const members = argumentsOf(entry);
  const answer = answerOf(entry);
  const lines = members.map((one) =>
    `${comment(one.description)}${one.argument}${one.isNeeded ? "" : "?"}: ${one.type};\n`);
  const isOptional = members.every((one) => !one.isNeeded);
  const given = members.length ? `, given: {\n${indented(lines.join(""))}}${isOptional ? " = {}" : ""}` : "";
  const inside = (place) => members.filter((one) => one.in === place).map((one) => `${propertyName(one.name)}: ${access(one)}`);
  const parts = [`path: ${pathOf(path, members)}`];
  if (inside("query").length) parts.push(`query: { ${inside("query").join(", ")} }`);
  const name = functionName(operation.operationId);
  if (answer.isAddress) {
    const about = comment(operation.summary + ".", operation.description, "Returns the address for the browser to go to.");
    const listed = parts.map((part) => `    ${part},\n`).join("");
    return `${about}export function ${name}(gateway: Gateway${given}): string {\n  return address(gateway, {\n${listed}  });\n}\n`;
  }
  parts.unshift(`method: "${method.toUpperCase()}"`);
  if (inside("header").length) parts.push(`headers: { ${inside("header").join(", ")} }`);
  const credential = credentialOf(operation);
  if (credential) parts.push(`credential: ${credential}`);
  for (const body of members.filter((one) => ["json", "form"].includes(one.in))) parts.push(`${body.in}: ${access(body)}`);
  const about = comment(/[.?]$/.test(operation.summary) ? operation.summary : `${operation.summary}.`, operation.description);
  const call = `await send(gateway, {\n${parts.map((part) => `    ${part},\n`).join("")}  })`;
  const body = answer.read
    ? `  const response = ${call};\n  return (await ${answer.read}) as ${answer.type};\n`
    : `  ${call};\n`;
  return `${about}export async function ${name}(gateway: Gateway${given}): Promise<${answer.type}> {\n${body}}\n`;
}

const all = operations();
const text = [
  "// Client of a ResuLLM gateway's own routes, for browsers, Node.js 20, Deno and Bun.\n//\n" +
    "// Written by generate.mjs from the gateway's /openapi.json. Changes go there, not here.\n",
  CORE,
  "// ---- Types\n",
  `/** Bodies of errors. */\nexport type GatewayErrorBody = ${errorBodies(all)};\n`,
  ...Object.entries(api.components.schemas).map(declared),
  "// ---- Functions\n",
  ...all.map(written),
].join("\n");
writeFileSync(target, text);
