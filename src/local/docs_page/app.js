// The OpenAPI document of the gateway that serves this page, with a form that tries each operation out.
//
// What the document and the answers say becomes text, never HTML. Credentials stay in their fields: they go into the
// header of a call, and into no address, history, storage or curl line.

const METHODS = ["get", "head", "post", "put", "patch", "delete"];
// Levels below which a prefilled body is not filled any more: a schema may refer to itself.
const MAX_SAMPLE_DEPTH = 6;
// Characters of an answer that are shown.
const MAX_SHOWN = 1_000_000;

// The gateway as this page reached it, which may be below a path.
const base = location.origin + location.pathname.replace(/\/docs\/?$/, "");
const part = (id) => document.getElementById(id);

// The document, and its operations by their IDs.
let api = {};
const entries = new Map();

// Makes an element. Texts among the children become text nodes.
function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Text with its words between backticks as code.
const marked = (text) =>
  String(text ?? "").split("`").map((piece, at) => (at % 2 ? make("code", {}, piece) : piece));

const prose = (text) =>
  String(text ?? "").split(/\n{2,}/).filter(Boolean).map((paragraph) => make("p", {}, marked(paragraph)));

// A part whose content is made when it is first opened.
function folded(title, content, properties) {
  const details = make("details", properties, make("summary", {}, title));
  details.addEventListener("toggle", () => details.append(...content()), { once: true });
  return details;
}

// What a reference refers to, with the members beside the reference.
function resolve(value) {
  let found = value;
  for (let hops = 0; typeof found?.$ref === "string" && hops < 20; hops++) {
    const { $ref, ...beside } = found;
    const names = $ref.split("/").slice(1).map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
    found = { ...names.reduce((at, name) => at?.[name], api), ...beside };
  }
  return found !== null && typeof found === "object" ? found : {};
}

// ---- Schemas

const variants = (schema) => schema.oneOf ?? schema.anyOf ?? schema.allOf ?? [];

function typeOf(schema) {
  const whole = resolve(schema);
  if ("const" in whole) return JSON.stringify(whole.const);
  if (whole.enum) return whole.enum.map((one) => JSON.stringify(one)).join(" or ");
  const types = [whole.type ?? []].flat();
  const named = types.map((type) => (type === "array" ? `array of ${typeOf(whole.items)}` : type));
  if (named.length) return named.join(" or ") + (whole.format ? ` (${whole.format})` : "");
  const choices = [...new Set(variants(whole).map(typeOf))];
  if (choices.length) return choices.join(whole.allOf ? " and " : " or ");
  return whole.properties ? "object" : "any";
}

const BOUNDS = {
  default: "default", minimum: "at least", maximum: "at most", minLength: "shortest", maxLength: "longest",
  minItems: "fewest", maxItems: "most", maxProperties: "most", pattern: "pattern",
};

function bounds(schema) {
  const told = Object.entries(BOUNDS).filter(([key]) => key in schema);
  const texts = told.map(([key, word]) => `${word} ${JSON.stringify(schema[key])}`);
  for (const example of schema.examples ?? []) texts.push(`such as ${JSON.stringify(example)}`);
  return texts.join(", ");
}

// Conditions of JSON Schema that have no better picture than themselves.
function conditions(schema) {
  const named = ["if", "then", "else", "not", "dependentRequired", "propertyNames"].filter((key) => key in schema);
  return Object.fromEntries(named.map((key) => [key, schema[key]]));
}

function hasParts(schema) {
  const whole = resolve(schema);
  return Boolean(
    whole.properties || typeof whole.additionalProperties === "object" || (whole.items && hasParts(whole.items)) ||
    variants(whole).some((one) => hasParts(one) || resolve(one).description),
  );
}

// One member of an object, or one parameter.
function field(name, schema, isRequired, about) {
  const whole = resolve(schema);
  const limits = bounds(whole);
  return make("li", {},
    make("code", { className: "name" }, name), " ",
    make("span", { className: "quiet" }, typeOf(whole)), " ",
    isRequired && make("span", { className: "required" }, "required"),
    make("div", {}, marked(about ?? whole.description)),
    limits && make("div", { className: "quiet" }, limits),
    hasParts(whole) && folded(["Parts of ", make("code", {}, name)], () => shape(whole)));
}

// Everything that a schema says, as elements.
function shape(schema) {
  const whole = resolve(schema);
  const required = new Set(whole.required ?? []);
  const fields = Object.entries(whole.properties ?? {}).map(([name, one]) => field(name, one, required.has(name)));
  if (typeof whole.additionalProperties === "object") fields.push(field("any name", whole.additionalProperties, false));
  const nodes = fields.length ? [make("ul", { className: "fields" }, fields)] : [];
  if (whole.items && hasParts(whole.items)) nodes.push(make("p", { className: "quiet" }, "Each item:"), ...shape(whole.items));
  const choices = variants(whole);
  if (choices.length) {
    const listed = choices.map((one) => field(resolve(one).title ?? typeOf(one), one, false));
    const title = whole.allOf ? "All of:" : "One of:";
    nodes.push(make("p", { className: "quiet" }, title), make("ul", { className: "fields" }, listed));
  }
  const further = conditions(whole);
  if (Object.keys(further).length) {
    nodes.push(folded("Conditions", () => [make("pre", {}, JSON.stringify(further, null, 2))]));
  }
  return nodes;
}

// A body of each media type.
function contents(content) {
  return Object.entries(content ?? {}).flatMap(([type, { schema }]) => {
    const whole = resolve(schema);
    const limits = bounds(whole);
    return [
      make("p", {}, make("code", {}, type), " ", make("span", { className: "quiet" }, typeOf(whole)), limits && `, ${limits}`),
      ...prose(whole.description),
      ...shape(whole),
    ];
  });
}

// A value that fits a schema, with what it requires.
function sample(schema, depth = 0) {
  const whole = resolve(schema);
  if (whole.examples?.length) return whole.examples[0];
  for (const key of ["example", "default", "const"]) if (key in whole) return whole[key];
  if (whole.enum) return whole.enum[0];
  if (whole.allOf) return Object.assign({}, ...whole.allOf.map((one) => sample(one, depth + 1)));
  const choice = variants(whole)[0];
  if (choice) return depth < MAX_SAMPLE_DEPTH ? sample(choice, depth + 1) : null;
  switch ([whole.type].flat().find((type) => type !== "null")) {
    case "string": return whole.format === "date-time" ? "2030-01-01T00:00:00Z" : "string";
    case "integer": case "number": return whole.minimum ?? 0;
    case "boolean": return false;
    case "array": return whole.minItems && depth < MAX_SAMPLE_DEPTH ? [sample(whole.items, depth + 1)] : [];
    default: {
      const names = depth < MAX_SAMPLE_DEPTH ? (whole.required ?? []) : [];
      return Object.fromEntries(names.map((name) => [name, sample(whole.properties?.[name], depth + 1)]));
    }
  }
}

// ---- Operations

function readEntries() {
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      const id = operation.operationId ?? `${method} ${path}`;
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
      for (const [, name] of path.matchAll(/\{([^}]+)\}/g)) {
        const isThere = parameters.some((one) => one.in === "path" && one.name === name);
        if (!isThere) parameters.push({ name, in: "path", required: true, schema: { type: "string" } });
      }
      const [type, body] = Object.entries(resolve(operation.requestBody).content ?? {})[0] ?? [];
      const said = [id, method, path, operation.summary, operation.description, ...(operation.tags ?? []),
        ...parameters.map((one) => one.name)];
      entries.set(id, {
        id, path, method, operation, parameters, type, body,
        isBodyRequired: Boolean(resolve(operation.requestBody).required),
        credential: credentialOf(operation), text: said.join("\n").toLowerCase(),
      });
    }
  }
}

// ID of the field whose credential an operation asks for.
function credentialOf(operation) {
  const schemes = (operation.security ?? api.security ?? []).flatMap((way) => Object.keys(way));
  if (!schemes.length) return null;
  return schemes.some((name) => ["admin", "operator"].includes(name)) ? "use-token" : "use-key";
}

const asks = (entry) =>
  ({ "use-key": "An end user’s key.", "use-token": "An admin token." })[entry.credential] ?? "No credential.";

const badge = (method) => make("span", { className: `method ${method}` }, method.toUpperCase());

function show(entry) {
  const { id, path, method, operation } = entry;
  const title = [
    make("h3", {}, badge(method), " ", make("code", {}, path)), " ",
    make("span", { className: "quiet" }, operation.summary ?? ""),
  ];
  return folded(title, () => [make("div", {}, described(entry), tryOut(entry))], { id, className: "operation" });
}

function described(entry) {
  const { id, operation, parameters } = entry;
  const nodes = [
    make("p", {}, make("a", { href: `#${encodeURIComponent(id)}` }, id), ` · ${asks(entry)}`),
    ...prose(operation.description),
  ];
  if (parameters.length) {
    const listed = parameters.map((one) =>
      field(one.name, one.schema, one.required, `In the ${one.in}. ${one.description ?? ""}`));
    nodes.push(make("h4", {}, "Parameters"), make("ul", { className: "fields" }, listed));
  }
  if (entry.type) {
    nodes.push(make("h4", {}, entry.isBodyRequired ? "Body" : "Body, which may be left out"));
    nodes.push(...contents(resolve(operation.requestBody).content));
  }
  nodes.push(make("h4", {}, "Answers"));
  for (const [status, reply] of Object.entries(operation.responses ?? {})) nodes.push(answered(status, resolve(reply)));
  return nodes;
}

function answered(status, reply) {
  const headers = Object.entries(reply.headers ?? {}).map(([name, header]) => {
    const whole = resolve(header);
    return field(name, whole.schema, whole.required, whole.description);
  });
  const content = () => {
    const nodes = contents(reply.content);
    if (headers.length) nodes.push(make("p", {}, "Headers:"), make("ul", { className: "fields" }, headers));
    return nodes.length ? nodes : [make("p", { className: "quiet" }, "No body.")];
  };
  return folded([make("code", { className: "name" }, status), " ", ...marked(reply.description)], content);
}

// ---- Try it out

const inputId = (entry, parameter) => `${entry.id}-${parameter.in}-${parameter.name}`;
const isShared = (parameter) => parameter.in === "path" && parameter.name === "tenant";
const isMultipart = (entry) => entry.type === "multipart/form-data";

function input(id, name, isRequired) {
  const box = make("input", { id, type: "text", autocomplete: "off", spellcheck: false, required: isRequired });
  return make("div", {}, make("label", { htmlFor: id }, name), box);
}

function prefilled(entry) {
  if (entry.type !== "application/json") {
    return Object.keys(resolve(entry.body?.schema).properties ?? {}).map((name) => `${name}=`).join("&");
  }
  return entry.isBodyRequired ? JSON.stringify(sample(entry.body.schema), null, 2) : "{}";
}

function tryOut(entry) {
  const { id } = entry;
  const own = entry.parameters.filter((one) => !isShared(one));
  const nodes = [
    make("h4", { id: `${id}-title` }, "Try it out"),
    make("div", { className: "tries" }, own.map((one) => input(inputId(entry, one), one.name, Boolean(one.required)))),
  ];
  if (isMultipart(entry)) {
    nodes.push(make("p", {}, "A form with files is sent with curl."));
  } else if (entry.type) {
    const box = make("textarea", { id: `${id}-body`, spellcheck: false, autocomplete: "off", value: prefilled(entry) });
    nodes.push(make("label", { htmlFor: box.id }, "Body"), box);
  }
  const send = make("button", { type: "button", id: `${id}-send`, disabled: isMultipart(entry) }, "Send");
  const stop = make("button", { type: "button", id: `${id}-stop`, className: "other", hidden: true }, "Stop");
  const use = make("button", { type: "button", id: `${id}-use`, className: "other", hidden: true }, "Use this key");
  send.addEventListener("click", () => call(entry));
  nodes.push(
    make("div", {}, send, stop),
    make("p", { className: "quiet" }, "With curl:"), make("pre", { id: `${id}-curl`, tabIndex: 0 }),
    make("p", { role: "status", id: `${id}-status` }), make("p", { role: "alert", className: "problem", id: `${id}-problem` }),
    make("div", { id: `${id}-result`, hidden: true }, make("p", { className: "quiet" }, "Headers"),
      make("pre", { id: `${id}-headers`, tabIndex: 0 }), make("p", { className: "quiet" }, "Body"),
      make("pre", { id: `${id}-answer`, tabIndex: 0 }), use),
  );
  const form = make("section", { "aria-labelledby": `${id}-title` }, nodes);
  form.addEventListener("input", () => showCurl(entry));
  entry.isMade = true;
  // The fields are in the page a moment later.
  queueMicrotask(() => showCurl(entry));
  return form;
}

// The call as its form says, and the names of what is missing.
function composed(entry) {
  const missing = [];
  const value = (parameter) => part(isShared(parameter) ? "use-tenant" : inputId(entry, parameter)).value.trim();
  const query = new URLSearchParams();
  const headers = {};
  let path = entry.path;
  for (const parameter of entry.parameters) {
    const given = value(parameter);
    // A browser would take dots for a step up.
    const isUseless = given === "" || (parameter.in === "path" && /^\.\.?$/.test(given));
    if (isUseless && parameter.required) missing.push(parameter.name);
    if (parameter.in === "path") path = path.replaceAll(`{${parameter.name}}`, () => encodeURIComponent(given || parameter.name));
    else if (given && parameter.in === "query") query.append(parameter.name, given);
    else if (given && parameter.in === "header") headers[parameter.name] = given;
  }
  const search = query.size ? `?${query}` : "";
  const body = part(`${entry.id}-body`)?.value || undefined;
  if (body) headers["Content-Type"] = entry.type;
  return { url: base + path + search, method: entry.method.toUpperCase(), headers, body, missing };
}

// A word of a shell's, whatever is in it.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curlLine(entry) {
  const { url, method, headers, body } = composed(entry);
  const words = ["curl"];
  if (method === "HEAD") words.push("--head");
  else if (method !== "GET") words.push("-X", method);
  words.push(quoted(url));
  if (entry.credential) words.push("-H", '"Authorization: Bearer $KEY"');
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (body) words.push("--data-raw", quoted(body));
  if (isMultipart(entry)) {
    for (const name of Object.keys(resolve(entry.body?.schema).properties ?? {})) words.push("-F", quoted(`${name}=`));
  }
  return words.join(" ");
}

function showCurl(entry) {
  if (entry.isMade) part(`${entry.id}-curl`).textContent = curlLine(entry);
}

async function call(entry) {
  const at = (name) => part(`${entry.id}-${name}`);
  at("problem").textContent = at("status").textContent = "";
  at("result").hidden = at("use").hidden = true;
  const { url, method, headers, body, missing } = composed(entry);
  if (missing.length) {
    at("problem").textContent = `Fill in ${missing.join(", ")}.`;
    return;
  }
  const credential = entry.credential && part(entry.credential).value.trim();
  if (credential) headers.Authorization = `Bearer ${credential}`;
  const ends = new AbortController();
  at("stop").onclick = () => ends.abort();
  at("stop").hidden = false;
  at("send").disabled = true;
  try {
    const answer = await fetch(url, {
      method, headers, body, signal: ends.signal, credentials: "omit", cache: "no-store", redirect: "manual",
      referrerPolicy: "no-referrer",
    });
    await showAnswer(answer, at);
  } catch (error) {
    at("problem").textContent = error.name === "AbortError" ? "Stopped." : `No answer: ${error.message}`;
  }
  at("stop").hidden = true;
  at("send").disabled = false;
}

async function showAnswer(answer, at) {
  at("result").hidden = false;
  at("headers").textContent = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  at("answer").textContent = "";
  if (answer.type === "opaqueredirect") {
    at("status").textContent = "A redirect, whose address a browser shows to no page.";
    return;
  }
  at("status").textContent = `${answer.status} ${answer.statusText}`.trim();
  const type = answer.headers.get("content-type") ?? "";
  if (type && !/json|text|xml/.test(type)) {
    at("answer").textContent = `${(await answer.blob()).size} bytes of ${type}`;
    return;
  }
  const text = await shown(answer, at("answer"));
  const value = parsed(text);
  if (value === undefined) return;
  // Only where nothing is lost: a number may have more digits than JavaScript keeps.
  if (JSON.stringify(value) === text) at("answer").textContent = JSON.stringify(value, null, 2);
  if (typeof value?.apiKey !== "string") return;
  at("use").hidden = false;
  at("use").onclick = () => {
    part("use-key").value = value.apiKey;
    at("use").hidden = true;
    at("status").textContent = "The key is in use.";
  };
}

// Shows an answer as it comes, and returns its text.
async function shown(answer, place) {
  if (!answer.body) return "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return text;
    if (text.length > MAX_SHOWN) continue;
    text += value;
    place.append(text.length > MAX_SHOWN ? "\n… and more" : value);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// ---- The page

function tagged() {
  const known = (api.tags ?? []).map((tag) => ({ ...tag, entries: [] }));
  for (const entry of entries.values()) {
    const name = entry.operation.tags?.[0] ?? "other";
    let tag = known.find((one) => one.name === name);
    if (!tag) known.push((tag = { name, entries: [] }));
    tag.entries.push(entry);
  }
  return known.filter((tag) => tag.entries.length);
}

function showPage() {
  const { title, version, summary, description } = api.info ?? {};
  document.title = `${title ?? "API"} ${version ?? ""}`.trim();
  part("page-title").textContent = document.title;
  part("page-about").append(...prose(summary), ...prose(description));
  const servers = (api.servers ?? []).flatMap(({ url, description: about }) => [make("code", {}, url), ` ${about ?? ""} `]);
  part("page-servers").append(...servers, make("a", { href: `${base}/openapi.json` }, "The document itself"));
  for (const tag of tagged()) {
    const sections = tag.entries.map((entry) => (entry.element = show(entry)));
    tag.section = make("section", { "aria-label": tag.name }, make("h2", {}, tag.name), prose(tag.description), sections);
    part("operations-list").append(tag.section);
    const links = tag.entries.map((entry) => (entry.link = make("li", {}, make("a",
      { href: `#${encodeURIComponent(entry.id)}` }, badge(entry.method), " ", entry.operation.summary ?? entry.path))));
    tag.list = make("div", {}, make("h2", {}, tag.name), make("ul", {}, links));
    part("contents-list").append(tag.list);
    for (const entry of tag.entries) entry.tag = tag;
  }
}

function search() {
  const words = part("search-box").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const entry of entries.values()) {
    const fits = words.every((word) => entry.text.includes(word));
    entry.element.hidden = entry.link.hidden = !fits;
    count += Number(fits);
  }
  for (const { tag } of entries.values()) {
    tag.section.hidden = tag.list.hidden = tag.entries.every((entry) => entry.element.hidden);
  }
  part("search-count").textContent = `${count} of ${entries.size} operations`;
}

// Opens the operation that the address names.
function openLinked() {
  const entry = [...entries.values()].find(({ id }) => `#${encodeURIComponent(id)}` === location.hash);
  if (!entry) return;
  if (entry.element.hidden) {
    part("search-box").value = "";
    search();
  }
  entry.element.open = true;
  entry.element.scrollIntoView();
  entry.element.querySelector("summary").focus({ preventScroll: true });
}

async function start() {
  part("contents").open = matchMedia("(min-width: 60rem)").matches;
  const answer = await fetch(`${base}/openapi.json`, { credentials: "omit" });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
  api = await answer.json();
  readEntries();
  showPage();
  search();
  openLinked();
  part("search-box").addEventListener("input", search);
  part("use-tenant").addEventListener("input", () => entries.forEach(showCurl));
  addEventListener("hashchange", openLinked);
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
    event.preventDefault();
    part("search-box").focus();
  });
}

start().catch((error) => {
  part("page-problem").textContent = `The document cannot be shown: ${error.message}`;
});
