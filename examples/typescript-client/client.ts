// Client of a ResuLLM gateway's own routes, for browsers, Node.js 20, Deno and Bun.
//
// Written by generate.mjs from the gateway's /openapi.json. Changes go there, not here.

// Where a gateway is, and as whom it is called.
export interface Gateway {
  /** Such as `https://gateway.example`, with the path below which the gateway is, if there is one. */
  baseUrl: string;
  /** Tenant of the routes below `/{tenant}`. Absent: `default`. */
  tenant?: string;
  /** An end user's key, for the routes that ask for one. */
  key?: string;
  /** An admin's or the operator's token, for the routes that ask for one. */
  adminToken?: string;
  /** Further headers of every call. */
  headers?: Record<string, string>;
  /** Cancels the call. */
  signal?: AbortSignal;
  /** Sees each answer before its body is read: headers such as `etag` are there. */
  onResponse?: (response: Response) => void;
  /** In place of the global `fetch`. */
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
    super(body?.error ?? `The gateway answered ${response.status}`);
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
  return gateway.baseUrl.replace(/\/+$/, "") + path + (search && `?${search}`);
}

async function send(gateway: Gateway, call: Call): Promise<Response> {
  const headers = new Headers(gateway.headers);
  if (call.credential !== undefined) headers.set("authorization", `Bearer ${call.credential}`);
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

// ---- Types

/** Bodies of errors. */
export type GatewayErrorBody = ErrorSchema | InvalidConfig | ErrorSchema;

/** An account, as an admin sees it. */
export type Account = {
  /** Names the key in routes, lists and usage records, without saying it. */
  id: string;
  /** Names the account in usage records. */
  account: string;
  /** The same as `account`. */
  keyId: string;
  /** Balance: the tokens granted minus those that its requests used. */
  tokensLeft: number;
  /** Part of the balance that no request in flight holds. */
  tokensFree: number;
  /** Used, but no longer there to be charged: what an estimate fell short of. */
  overrun: number;
  /** Group of the account, one of the tenant's `user_groups`. */
  group: string;
  /** The app's own ID of the user whose key it is; `null` where the record names nobody. */
  userId: string | null;
  /** Moment when the key was minted; `null` where the record does not say. */
  createdAt: string | null;
  /** Moment when the key ends. Absent: never. */
  expiresAt?: string;
  /** Whether the account is suspended. */
  suspended: boolean;
};

/**
 * Every change of an account's balance. The amounts of all postings and of all that was folded add up to the
 * balance.
 */
export type AccountLedger = {
  /** The balance, which is the sum of `postings` and `folded`. */
  tokensLeft: number;
  /** Changes, newest first: `limit` of them. */
  postings: Posting[];
  /** Older changes, which are no longer kept one by one (`retention.postings`), by day and reason. */
  folded: FoldedPostings[];
  /** Where the next page goes on. Absent: this is the last. */
  cursor?: string;
};

/** Payments of an account. */
export type AccountPayments = {
  /** Stripe's customer; `null`: none yet. */
  customer: string | null;
  /** Subscriptions that give the account its group. */
  subscriptions: string[];
  /** Whether a dispute keeps the account from buying. */
  isBlocked: boolean;
  /** Oldest first. */
  payments: Payment[];
};

/** A key, as an admin sees it in a list. */
export type AdminKey = {
  /** Names the key in routes, lists and usage records, without saying it. */
  id: string;
  /** Names its account in usage records; that of a key's own account is its `id`. */
  account: string;
  /** Group of the account. */
  group: string;
  /** The app's own ID of the user; `null` where the record names nobody. */
  userId: string | null;
  /** Balance of the account. */
  tokensLeft: number;
  /** Part of the balance that no request in flight holds. */
  tokensFree: number;
  /** Moment when the key was made; absent: not known. */
  createdAt?: string;
  /** Moment when the key ends; absent: never. */
  expiresAt?: string;
  /** Whether the account is suspended. */
  suspended: boolean;
};

/** A page of keys, newest first. */
export type AdminKeys = {
  /** The keys. A page may have fewer than were asked for, also where more match. */
  keys: AdminKey[];
  /** Number of all keys of the tenant, whatever the filters; some may have ended within the last hour. */
  total: number;
  /** The `cursor` of the next page; absent: there is none. */
  cursor?: string;
};

/** An admin token: visible ASCII without spaces, what a header can carry. */
export type AdminToken = string | {
  /** The `token`. */
  token: string;
  /** What it opens. */
  scope: TokenScope;
  /** Name by which the audit log and lists call it. Absent: one that is derived from the token. */
  name?: string;
};

/** All of a tenant's own admin tokens. */
export type AdminTokens = {
  /** Each as a text, which opens all of the tenant, or with its scope. */
  tokens: AdminToken[];
};

/** A person, as an admin sees it. */
export type AdminUser = {
  /** Names the account in usage records. */
  id: string;
  /** Name of the account. */
  account: string;
  /** The app's own ID of the user; `null`: none. */
  userId: string | null;
  /** Group of the account. */
  group: string;
  /** Balance of the account. */
  tokensLeft: number;
  /** Part of the balance that no request in flight holds. */
  tokensFree: number;
  /** Used, but no longer there to be charged: what an estimate fell short of. */
  overrun: number;
  /** Moment when the account was made; absent: not known. */
  createdAt?: string;
  /** Whether the account is suspended. */
  suspended: boolean;
};

/** A page of people, newest first. */
export type AdminUsers = {
  /** The people. A page may have fewer than were asked for, also where more match. */
  users: AdminUser[];
  /** Number of all people of the tenant, whatever the filters. */
  total: number;
  /** The `cursor` of the next page; absent: there is none. */
  cursor?: string;
};

/** The process lives. */
export type Alive = {
  status: "ok";
};

/** An error in the shape that Anthropic's SDKs read. */
export type AnthropicError = {
  type: "error";
  /** The error. */
  error: {
    /** The kind of error, in Anthropic's words. */
    type: string;
    /** In a sentence. */
    message: string;
  };
  /** The answer's `x-request-id`. */
  request_id: string;
};

/** Whether a change was made. */
export type AuditOutcome = "done" | "unknown" | "refused";

/** A change over an `/admin` route, or by a command that does the same. */
export type AuditRecord = {
  /** Its ID. */
  id: string;
  /** When it began. */
  time: string;
  /** Whether it was made. */
  outcome: AuditOutcome;
  /** Kind of the change, such as `key.credited`. */
  action: string;
  /** The author: `operator`, or the name of the token. */
  by: string;
  /** Scope of the token; absent for `operator`. */
  scope?: TokenScope | null;
  /** The address that the request came from; `cli` for a command that was given on the store itself. */
  address: string;
  /** `x-request-id` of the answer. */
  requestId: string;
  /** The tenant. */
  tenant: string;
  /** The account (as in usage records), token or version that was changed; empty where that is the whole tenant. */
  target: Record<string, unknown>;
  /** How it was before. Of a config the fields that differ, by their paths, with `masked:v1:…` in place of secrets. */
  before: Record<string, unknown>;
  /** How it was afterwards, as `before`. */
  after: Record<string, unknown>;
  /** Number of fields that differ and stand neither in `before` nor in `after`. */
  omitted?: number;
};

/** Changes, the latest first. */
export type AuditRecords = {
  /** The changes. */
  changes: AuditRecord[];
  /** The `cursor` of the query whose answer goes on here; absent at the end. */
  cursor?: string | null;
};

/** Parameters with which an issuer sends the browser back. */
export type CallbackQuery = {
  /** The issuer's code. */
  code?: string | null;
  /** The text that this gateway gave the issuer. */
  state?: string | null;
  /** Why there is no code. */
  error?: string | null;
  /** The issuer, where it names itself. */
  iss?: string | null;
};

/** A call of Chat Completions; only what the gateway itself looks at is shown. */
export type ChatCall = {
  /** A model, or `<endpoint>/<model>`. Absent: the default model of the endpoint that serves. */
  model?: string;
  /** The conversation. */
  messages: Record<string, unknown>[];
  /** The most that the answer may use. It is lowered where less is free. */
  max_completion_tokens?: number | null;
  /** The older name of the same. */
  max_tokens?: number | null;
  /** Number of answers. */
  n?: number | null;
  /** The answer as server-sent events. */
  stream?: boolean | null;
  /** Settings of a stream. */
  stream_options?: {
    /** A last chunk with the usage. */
    include_usage?: boolean | null;
  } | null;
};

/** Purchase of a group or a top-up. */
export type Checkout = {
  /** Group to subscribe to. */
  group?: string | null;
  /** One of the group's prices. Absent: its usual one. */
  price?: string | null;
  /** Name of a top-up. */
  topUp?: string | null;
  /**
   * Page to come back to after the payment: of an origin in the tenant's `cors.origins`, or one of its
   * `redirect_uris`. Stripe puts the session's ID in place of `{CHECKOUT_SESSION_ID}`.
   */
  successUrl: string;
  /** Page to come back to without a payment. */
  cancelUrl?: string | null;
};

/** A page of Stripe's, for the person's browser. */
export type CheckoutPage = {
  /** Address of the page. It ends by itself. */
  url: string;
};

/** A tenant's config in its envelope. */
export type Config = {
  config: TenantConfig;
};

/** The configs of a tenant that were replaced, the latest first. */
export type ConfigHistory = {
  /** At most 20. */
  configs: FormerConfig[];
};

/** The config is stored. */
export type ConfigStored = {
  success: true;
  /** Warnings: places of the config that will hardly do what was meant. */
  warnings?: {
    /** Place of the fault, as names with dots; empty for the config as a whole. */
    path: string;
    /** A sentence that says what is wrong there. */
    message: string;
  }[];
};

/** A config that was replaced, with masks `masked:v1:…` in place of its secrets. */
export type ConfigVersion = {
  /** Its number. */
  version: number;
  /** When it was replaced. */
  replacedAt: string;
  /** Author of the replacement: `operator`, or the name of the token. */
  replacedBy: string;
  /** The config. */
  config: TenantConfig;
};

/** Tokens to be added to a balance, or taken from it. */
export type Credit = {
  /** Number of tokens. */
  tokens: number;
  /** Names this change. The same one again changes nothing, whether it adds or takes. Absent: a new name. */
  id?: string | null;
  /** Comment for the account's ledger. */
  comment?: string | null;
};

/** The balance after a credit or a debit. */
export type Credited = {
  /** Names the account in usage records. */
  account: string;
  /** Balance: the tokens granted minus those that its requests used. */
  tokensLeft: number;
  /** The change had been made before, and nothing was changed now. */
  repeated: boolean;
};

/** An error of a local route. */
export type ErrorSchema = {
  /** A sentence that says what went wrong. */
  error: string;
};

/** All that is kept of an account. */
export type Export = {
  /** Name of the account. */
  account: string;
  /** The app's own ID of the user, or the name of the account. */
  userId: string | null;
  /** Moment of its creation. */
  createdAt: string | null;
  /** Group of the account, one of the tenant's `user_groups`. */
  group: string | null;
  /** Balance of the account. */
  tokensLeft: number;
  /** Names of the other identities that lead to it. What they were derived from is not kept. */
  identities: string[];
  /** Its keys, newest first. */
  keys: ListedKey[];
  /** Its payments. */
  payments: AccountPayments;
  /** Every change of its balance. */
  ledger: AccountLedger;
  /** Its requests, newest first, as far as the usage log goes back. */
  usage: UsageEvent[];
};

/** Changes of one day with one `reason`. */
export type FoldedPostings = {
  /** The day, as `2026-11-29` (UTC); `null`: before `retention.postings`. */
  day: string | null;
  /** Reason of the changes, as in `postings`. */
  reason: PostingReason;
  /** Number of `postings` that it was. */
  count: number;
  /** Sum of their `amount`. */
  amount: number;
};

/** A config that was replaced, without itself; `GET /admin/config/history/{version}` shows it. */
export type FormerConfig = {
  /** Its number. */
  version: number;
  /** When it was replaced. */
  replacedAt: string;
  /** Author of the replacement: `operator`, or the name of the token. */
  replacedBy: string;
};

/** A call of Gemini's API, whose model stands in the path. */
export type GeminiCall = {
  /** The conversation. */
  contents?: Record<string, unknown>[];
  [name: string]: unknown;
};

/** An error in the shape that Google's SDKs read. */
export type GeminiError = {
  /** The error. */
  error: {
    /** The status. */
    code: number;
    /** In a sentence. */
    message: string;
    /** The kind of error, in Google's words. */
    status: string;
    /** The gateway's own: one object with `reason`, which is the code in capitals, and `metadata.requestId`. */
    details: Record<string, unknown>[];
  };
};

/** Part of a balance that is held. */
export type Holding = {
  /** ID of the request's hold, or name of the instance that has the lease. */
  id: string;
  /** `request`, or `lease`: an instance's part, which it spends without asking. */
  kind: string;
  /** Most that it can cost. */
  most: number;
  /** Cost that is known so far. */
  known: number;
  /** Moment when it ends by itself. */
  expiresAt: string;
};

/** Everything that is wrong with a config, at once. Nothing was changed. */
export type InvalidConfig = {
  error: "Invalid tenant config";
  /** All faults. */
  details: {
    /** Place of the fault, as names with dots; empty for the config as a whole. */
    path: string;
    /** A sentence that says what is wrong there. */
    message: string;
  }[];
};

/** A key in a list. */
export type ListedKey = {
  /** Names the key, in place of itself. */
  id: string;
  /** Its first characters. */
  start: string;
  /** Name that the person gave it. */
  name?: string | null;
  /** `signIn`, `session` or `made`. */
  source: string;
  /** Moment of its creation. */
  createdAt: string;
  /** Day of its latest use; `null`: never used. */
  lastUsed: string | null;
  /** Moment when the key ends; `null`: never. */
  expiresAt: string | null;
  /** The only models that it may ask for. */
  models?: string[] | null;
  /** The only addresses that it may be used from. */
  allowedAddresses?: string[] | null;
  /** Most tokens that it may spend. */
  tokensMax?: number;
  /** Tokens of `tokensMax` that it has spent. */
  tokensSpent?: number;
  /** Whether it is the key of this request. */
  current: boolean;
};

/** An admin token in a list. */
export type ListedToken = {
  /** Name by which the audit log calls it. */
  name: string;
  /** What it opens. */
  scope: TokenScope;
  /** Moment when it was made; `null`: by a gateway that did not note it. */
  createdAt: string | null;
  /** Who made it: `operator`, or the `name` of a token; `null`: not noted. */
  createdBy: string | null;
};

/** An admin token that was made. It is shown only here. */
export type MadeToken = {
  /** Name by which the audit log and lists call it. */
  name: string;
  /** What it opens. */
  scope: TokenScope;
  /** The token: `adm_` and 64 hex digits. */
  token: string;
};

/** An account, as its own key sees it. */
export type Me = {
  /** Balance: the tokens granted minus those that its requests used. */
  tokensLeft: number;
  /** Part of the balance that no request in flight holds. */
  tokensFree: number;
  /** Group of the account, one of the tenant's `user_groups`. */
  group: string;
  /** Requests in any window. Absent: the group has no limit. */
  rateLimit?: number;
  /** Length of the window in seconds. Absent: the group has no limit. */
  rateLimitWindow?: number;
  /** Requests that may still pass in this window. Absent: the group has no limit. */
  requestsRemaining?: number;
  /** Seconds until the whole limit is free again. Absent: the group has no limit. */
  resetSeconds?: number;
  /** Moment from which the balance is refilled. Absent: the group has no refill. */
  refillsAt?: string;
  /** Name of the account, where it is a person's. */
  userId?: string;
  /** Names the key, where it is one of a person's. */
  keyId?: string;
  /** Most tokens that the key may spend of the balance. Absent: all. */
  tokensMax?: number;
  /** Tokens of `tokensMax` that the key has spent. */
  tokensSpent?: number;
  /** Moment when the key ends. Absent: never. */
  expiresAt?: string;
};

/** Parameters of a new key. Every field may be left out. */
export type Mint = {
  /** Group of the account, one of the tenant's `user_groups`. Absent: `anonymous`. */
  group?: string | null;
  /** The balance. Absent: what the group begins with. */
  tokens?: number | null;
  /** Seconds until the key ends, ten years at most. Absent: it never ends. */
  expiresInSeconds?: number | null;
  /** The app's own ID of the user whose key it is. */
  userId?: string | null;
};

/** A new key. */
export type MintedKey = {
  /** Names the key in routes, lists and usage records. */
  id: string;
  /** The key. */
  apiKey: string;
  /** Names its account in usage records. */
  account: string;
  /** Balance: the tokens granted minus those that its requests used. */
  tokensLeft: number;
  /** Group of the account, one of the tenant's `user_groups`. */
  group: string;
  /** Moment when the key ends. Absent: never. */
  expiresAt?: string;
};

/**
 * A model, in the shape of the API that asks: Anthropic's where `anthropic-version` is sent, Gemini's below
 * `v1beta` and where `x-goog-api-key` is sent, else OpenAI's.
 */
export type Model = {
  /** The model's name, as `model` of a call takes it. */
  id: string;
  object: "model";
  /** Always 0: the gateway does not know. */
  created: number;
  /** The endpoint that answers, by its name in the tenant's config. */
  owned_by: string;
} | {
  type: "model";
  /** The model's name, as `model` of a call takes it. */
  id: string;
  /** The same name. */
  display_name: string;
  /** Always 1970: the gateway does not know. */
  created_at: string;
} | {
  /** `models/` and the model's name. */
  name: string;
  /** The model's name. */
  displayName: string;
  /** The methods that it has. */
  supportedGenerationMethods: string[];
};

/** A call of a provider's API; only what the gateway looks at in every one is shown. */
export type ModelCall = {
  /** A model, or `<endpoint>/<model>`. Absent: the default model of the endpoint that serves. */
  model?: string;
  [name: string]: unknown;
};

/** The models that a key may ask for. */
export type ModelList = {
  object: "list";
  /** All models. */
  data: Model[];
} | {
  /** All models. */
  data: Model[];
  has_more: false;
  /** The first one's name, `null` where there is none. */
  first_id: string | null;
  /** The last one's name, `null` where there is none. */
  last_id: string | null;
} | {
  /** All models. */
  models: Model[];
};

/** Changes of a key's account, all in one step. At least one must be there. */
export type Move = {
  /** Group of the account, one of the tenant's `user_groups`. */
  group?: string;
  /** The app's own ID of the user whose key it is; `null`: nobody's. Only of an account that is a key's own. */
  userId?: string | null;
  /**
   * Seconds from now until the key ends, ten years at most; `null`: it never ends. Only of an account that is a
   * key's own.
   */
  expiresInSeconds?: number | null;
  /** Tokens to be added to the balance. */
  tokens?: number;
  /** Names the change of the balance. The same one again adds nothing. Absent: a new name. */
  id?: string | null;
  /** Comment for the account's ledger. */
  comment?: string | null;
};

/** The account after its change. */
export type Moved = {
  success: true;
  /** Names the key. */
  id: string;
  /** Names its account in usage records. */
  account: string;
  /** Balance: the tokens granted minus those that its requests used. */
  tokensLeft: number;
  /** The tokens had been added before, and none were added now. */
  repeated: boolean;
};

/** A key for someone who has not signed in. */
export type NewKey = {
  /** The key: `temp_` and a UUID. */
  apiKey: string;
  /** Balance: the tokens granted minus those that its requests used. */
  tokensLeft: number;
  /** Group of the account, one of the tenant's `user_groups`. */
  group: string;
  /** Moment when the key ends. */
  expiresAt: string;
  /** Requests in any window. Absent: the group has no limit. */
  rateLimit?: number;
  /** Length of the window in seconds. Absent: the group has no limit. */
  rateLimitWindow?: number;
};

/** A key that a person makes for itself. */
export type NewOwnKey = {
  /** Name that the person gave it. */
  name?: string | null;
  /** Life of the key, such as `30d`. Absent: it does not end by itself. */
  ttl?: string | null;
  /** The only models that it may ask for. Absent: all of the group. */
  models?: string[] | null;
  /** The only addresses that it may be used from: IP addresses or blocks such as `10.0.0.0/8`. Absent: any. */
  allowedAddresses?: string[] | null;
  /** Most tokens that it may spend of the account's. Absent: all. */
  tokensMax?: number;
};

/** A tenant that does not exist yet. */
export type NewTenant = {
  id: TenantId;
  config: TenantConfig;
};

/** An admin token to be made. */
export type NewToken = {
  /** Name by which the audit log and lists are to call it. */
  name: string;
  /** What it opens. */
  scope: TokenScope;
};

/** An error in the shape that OpenAI's SDKs read. */
export type OpenAiError = {
  /** The error. */
  error: {
    /** In a sentence. */
    message: string;
    /** The kind of error, in OpenAI's words. */
    type: string;
    /** The field at fault, where there is one. */
    param: string | null;
    /**
     * The error in one word. The gateway's own among others: `invalid_api_key`, `insufficient_tokens`, `tokens_held`,
     * `rate_limit_exceeded`.
     */
    code: string | null;
  };
};

/** A key that was made. It is shown only here. */
export type OwnKey = {
  /** Names the key in lists. */
  id: string;
  /** The key: `user_` and a UUID. */
  apiKey: string;
  /** Name that the person gave it; `null`: none. */
  name: string | null;
  /** Moment when the key ends; `null`: never. */
  expiresAt: string | null;
};

/** The keys of an account. */
export type OwnKeys = {
  /** Newest first. */
  keys: ListedKey[];
};

/** Usage of a key's account. */
export type OwnUsage = {
  /** Sum of the time asked for. */
  total: UsageSum;
  /** Sums by day, `YYYY-MM-DD` in UTC. */
  byDay: Record<string, UsageSum>;
  /** Sums by model. */
  byModel: Record<string, UsageSum>;
  /**
   * Whether older requests of the time asked for are missing: the tenant's log no longer has them, or has too many.
   * Absent where none are.
   */
  incomplete?: boolean;
};

/** An endpoint that is asked only where there is no other: its calls failed, or its provider asked for a rest. */
export type PassedOverEndpoint = {
  /** The tenant's ID. */
  tenant: string;
  /** Name of the endpoint in the tenant's config. */
  endpoint: string;
  /** Model that it is asked for. */
  model: string;
};

/** A payment, and what it grants. */
export type Payment = {
  /** Moment when it was taken in. */
  time: string;
  /** `topUp`, `invoice` or `trial`. */
  kind: string;
  /** ID of the Checkout session, the invoice or the subscription. */
  object: string;
  /** Event that told it first. */
  event: string;
  /** Tokens that it grants. */
  tokens: number;
  /** Tokens of these that refunds and disputes take back. */
  takenBack: number;
  /** Reason for its grant, in words. */
  why: string;
};

/** An event of Stripe, and what came of it. */
export type PaymentEvent = {
  /** Moment when it came. */
  time: string;
  /** ID of the event. */
  event: string;
  /** Its type, in Stripe's words. */
  type: string;
  /** Account that it is about, as usage records name it. */
  account?: string | null;
  /** Tokens that it has added to the balance, or taken. */
  tokens?: number | null;
  /** Group that the account has moved to. */
  group?: string | null;
  /** Reason why it does nothing. */
  ignored?: string | null;
};

/** Events of Stripe, newest first. */
export type PaymentEvents = {
  /** At most 200. */
  events: PaymentEvent[];
};

/** A price of a group. */
export type PlanPrice = {
  /** ID of the price in Stripe. */
  price: string;
  /** Tokens that each period adds. */
  tokens: number;
  /** Amount of a period in the currency's smallest unit; `null`: Stripe does not say it now. */
  amount: number | null;
  /** Currency in three small letters. */
  currency: string | null;
  /** Unit of the period: `month`, `year`, `week` or `day`. */
  interval: string | null;
  /** Units of a period. */
  intervalCount: number | null;
};

/** Plans and top-ups of a tenant. */
export type Plans = {
  /** Groups that can be subscribed to. */
  plans: SoldPlan[];
  /** Tokens that can be bought once. */
  topUps: TopUp[];
};

/** Page to come back to from the portal. */
export type PortalCall = {
  /**
   * A page such as `successUrl` of a checkout may be. Absent: the first origin of the tenant's `cors.origins`, or
   * else the page of the portal's configuration in Stripe.
   */
  returnUrl?: string | null;
};

/** One change of `tokensLeft`. */
export type Posting = {
  /** Number within the account; later ones are higher. A `cursor` is one. */
  number: number;
  /** Moment of the change, by the store's clock. */
  time: string;
  /** Change of `tokensLeft`, negative where tokens were taken. */
  amount: number;
  /** Balance after it. */
  tokensLeft: number;
  /** Reason of the `amount`. */
  reason: PostingReason;
  /** ID of what caused it: of a settlement (as in usage records), a credit, a lease or a payment. */
  id?: string;
  /** Tokens that were used and not covered by the balance, and so are not in `amount`. */
  overrun?: number;
  /** More about the cause, as far as the `reason` has more. */
  detail?: PostingDetail;
};

/** More about the cause of a change: of a call what was charged and why, of a credit who made it. */
export type PostingDetail = {
  /** The answer's `x-request-id`. */
  requestId?: string;
  /** The endpoint that answered, by its name in the tenant's `providers`. */
  endpoint?: string;
  /** The `model` that was asked for. */
  model?: string;
  /** The call, as its path below `v1`. */
  call?: string;
  /** Tokens of the prompt, as the provider's `usage` reported them. */
  tokensIn?: number;
  /** Tokens of the answer, as the provider's `usage` reported them. */
  tokensOut?: number;
  /** Tokens of the prompt that the provider had cached, as its `usage` reported them. */
  tokensCached?: number;
  /** Basis of the charge, as in usage records. */
  basis?: string;
  /** Tokens of the prompt by the gateway's own count, where that was charged (`basis` is `counted`). */
  countedIn?: number;
  /** Tokens of the answer by the gateway's own count, where that was charged (`basis` is `counted`). */
  countedOut?: number;
  /** Rate of the model, as in the tenant's `rates`. */
  rate?: number | {
    /** Tokens of the prompt. */
    input: number;
    /** Tokens of the answer. */
    output: number;
    /** Tokens that the provider read from its prompt cache. Absent: as `input`. */
    cacheRead?: number;
    /** Tokens that the provider wrote to its prompt cache. Absent: as `input`. */
    cacheWrite?: number;
  };
  /** Number of requests that share this change: of a busy key, what is more than a hundred in a tenth of a second. */
  requests?: number;
  /** Who made it: `operator`, or the name of an admin token. */
  by?: string;
  /** Their `comment`. */
  comment?: string;
};

/** Reason of a [`Posting`]. */
export type PostingReason = "opened" | "outside" | "settled" | "expired" | "refilled" | "carried" | "credited" | "debited" | "granted" | "takenBack" | "givenBack";

/** Traffic is welcome. */
export type Ready = {
  status: "ready";
  /** Endpoints that this instance passes over now. Only on `server.ops_listen`, for `?verbose`. */
  passedOver?: PassedOverEndpoint[];
};

/** The code that a sign-in in the browser ended with. */
export type RedeemCode = {
  /** `code` of the address that the browser was sent to. It is gone with the first try, right or wrong. */
  code: string;
  /** The text whose SHA-256 was the `code_challenge`. */
  codeVerifier: string;
};

/** A key in place of another one. It is shown only here. */
export type RolledKey = {
  /** Names the new key. */
  id: string;
  /** The new key. */
  apiKey: string;
  /** Names its account in usage records; for a key's own account that stays the `id` of its first key. */
  account: string;
  /** Moment when the key ends; `null`: never. */
  expiresAt: string | null;
};

/** The service that answers. */
export type Root = {
  /** `<service name> API is running` */
  message: string;
};

/** A key for one of the app's users, as its backend asks for it. */
export type Session = {
  /** The app's own ID of the user, any text. The same one is the same account. */
  userId: string;
  /**
   * Group of the account, one of the tenant's `user_groups`. An account of another group moves to it; its balance
   * stays. Absent: `google_logged_in` for a new account.
   */
  group?: string | null;
  /** Most tokens that this key may spend of the account's. Absent: all. */
  tokens?: number;
  /** Life of this key, such as `15m`. Absent: 24 hours. */
  ttl?: string | null;
  /** The only models that this key may ask for. Absent: all of the group. */
  models?: string[] | null;
  /** An anonymous key whose balance moves over, if this creates the account. */
  carryOver?: string | null;
};

/** A key for one of the app's users. */
export type SessionKey = {
  /** The key: `user_` and a UUID. */
  apiKey: string;
  /** The app's own ID of the user. */
  userId: string;
  /** Name of the account. */
  account: string;
  /** Balance of the account. */
  tokensLeft: number;
  /** Group of the account, one of the tenant's `user_groups`. */
  group: string;
  /** Moment when the key ends. */
  expiresAt: string;
  /** Whether this created the account. */
  created: boolean;
  /** Tokens that moved here from the anonymous key that was named. */
  carriedOver: number;
};

/** An ID token that an issuer gave to the app. */
export type SignIn = {
  /** The token, a JWT. */
  idToken: string;
  /** The nonce that the app asked for the token with. The token must have it, or its SHA-256 in lower-case hex. */
  nonce?: string | null;
};

/** A person's account and a new key of it. */
export type SignedIn = {
  /** The key: `user_` and a UUID. */
  apiKey: string;
  /** Name of the account, the same at every sign-in of the person. */
  userId: string;
  /** Balance of the account. */
  tokensLeft: number;
  /** Group of the account, one of the tenant's `user_groups`. */
  group: string;
  /** Whether this sign-in created the account. */
  created: boolean;
  /** Tokens that moved here from the anonymous key that was sent. */
  carriedOver: number;
};

/** A group that is for sale. */
export type SoldPlan = {
  /** Name of the group, for a checkout. */
  group: string;
  /** Its prices, the usual one first. */
  prices: PlanPrice[];
  /** Days for which a first subscription is free. */
  trialDays?: number | null;
  /** Requests that pass in any window; `null`: no limit. */
  rateLimit: number | null;
  /** Length of the window in seconds. */
  rateLimitWindow: number | null;
  /** The only models of the group; `null`: all. */
  models: string[] | null;
};

/** An event of Stripe's, as far as it is described here. */
export type StripeEvent = {
  /** ID of the event. */
  id: string;
  /** `event`. */
  object: string;
  /** Type of the event. */
  type: string;
};

/** Done. */
export type Success = {
  success: true;
};

/** Whether an account's calls are refused. */
export type Suspend = {
  /** `true`: calls get 403 `account_blocked`, and those in flight end; `false`: they are served again. */
  suspended: boolean;
};

/** Done. */
export type Suspended = {
  success: true;
  /** Names the account in usage records. */
  account: string;
  /** Whether it is suspended now. */
  suspended: boolean;
};

/** The config of one tenant. Fields that are not listed here are stored and given back unchanged. */
export type TenantConfig = {
  /** How end users sign in. */
  auth?: {
    /** The tenant's Stripe account, which takes its payments. */
    stripe?: {
      /** `stripe`, or `demo`: a stand-in on this machine that moves no money, and has neither key nor secrets. */
      kind?: "stripe" | "demo" | null;
      /**
       * The secret API key, or a restricted one: it makes Checkout and portal sessions, and reads subscriptions,
       * invoices, prices, refunds and disputes.
       */
      api_key?: string | {
        env: string;
      } | null;
      /**
       * The signing secrets of the webhook, at most 4: while Stripe rolls one, both are taken. Without any there is no
       * checkout, since nothing would be granted.
       */
      webhook_secrets?: (string | {
        env: string;
      })[] | null;
      /** Tokens for sale, by the names that a checkout asks for them by. */
      top_ups?: Record<string, {
        /** The price in Stripe, of one payment. */
        price: string;
        /** Tokens that it adds to the balance. */
        tokens: number;
      }> | null;
    } | null;
    /** Sign-in with Google: its people are of group `google_logged_in`. */
    google_oauth?: {
      /** The client's ID: the audience of its ID tokens. */
      client_id: string;
      /** Further audiences: the IDs of the same app's clients for iOS and Android. */
      audiences?: string[] | null;
      /** The client's secret; only the code flow needs it. */
      client_secret?: string | {
        env: string;
      } | null;
      /**
       * Where a sign-in in the browser may end, to the letter: https, an app's own scheme, or a page on the user's own
       * machine. `http://127.0.0.1:*` and `http://[::1]:*` stand for any port. None: there is no code flow.
       */
      redirect_uris?: string[] | null;
    } | null;
    /** Sign-in with Apple: its people are of group `apple_logged_in` where there is one, else of `google_logged_in`. */
    apple_oauth?: {
      /** The client's ID (Services ID): the audience of its ID tokens. */
      client_id: string;
      /** Further audiences: the bundle IDs of the same team's apps. */
      audiences?: string[] | null;
      /** The client's secret, a JWT that Apple lets live for six months at most. */
      client_secret?: string | {
        env: string;
      } | null;
      /** ID of the developer team. */
      team_id?: string | null;
      /** ID of the private key. */
      key_id?: string | null;
      /**
       * The private key as Apple gives it (PEM, the content of the `.p8` file). A client secret that lives for minutes
       * is made with it for each use.
       */
      private_key?: string | {
        env: string;
      } | null;
      /** Where a sign-in in the browser may end; see `google_oauth`. */
      redirect_uris?: string[] | null;
    } | null;
    /**
     * Sign-in with other issuers of ID tokens, such as Clerk, Auth0, Supabase, Firebase or Cognito. The name stands in
     * the path of the sign-in.
     */
    oidc?: Record<string, {
      /** The issuer, to the letter as `iss` of its tokens has it. */
      issuer: string;
      /** The client's ID at the issuer. */
      client_id: string;
      /**
       * The audience of its ID tokens. `null`: the audience is not looked at, which needs `authorized_parties`. Absent:
       * `client_id`.
       */
      audience?: string | null;
      /** Further audiences. */
      audiences?: string[] | null;
      /** The values that `azp` of a token may have: at Clerk the origins of the app's pages. None: any. */
      authorized_parties?: string[] | null;
      /** Where the issuer's keys are. Absent: where its discovery document says. */
      jwks_url?: string | null;
      /** The client's secret; only the code flow needs it, and not at every issuer. */
      client_secret?: string | {
        env: string;
      } | null;
      /** Where a sign-in in the browser may end; see `google_oauth`. */
      redirect_uris?: string[] | null;
      /**
       * Claims that a token must have with these values, by their names, with dots between those of nested ones. An
       * absent claim equals `false`.
       */
      require?: Record<string, string | number | boolean> | null;
      /** The group of the people who sign in, one of `user_groups`. */
      group: string;
    }> | null;
    /** Whether an ID token is taken only with the nonce that it was asked for with. */
    require_nonce?: boolean | null;
    /** Seconds after its `iat` for which an ID token is taken. */
    max_token_age?: number | null;
    /**
     * Whether an end user's key may stand in the query of a call, as `?key=`, where Google's own API takes it. A URL
     * is written to the logs of everything between the client and the gateway, and the key with it.
     */
    key_in_query?: boolean | null;
    /**
     * What of an anonymous key's balance moves to the account that a sign-in creates: `all`, `none`, or the most
     * tokens that do.
     */
    carry_over?: "all" | "none" | number | null;
  } | null;
  /**
   * What an account of each group begins with, and what it may do. `anonymous` is who has not signed in; without it
   * a tenant has no anonymous sign-in.
   */
  user_groups?: Record<string, UserGroup> | null;
  /** Who answers. */
  providers?: {
    /** Chat, embeddings, images and audio files. */
    text?: {
      /** Name of the endpoint that serves what no other is chosen for. */
      default: string;
      /** The endpoints, by a name of your own. */
      endpoints: Record<string, {
        /**
         * The wire format that it speaks: `openai`, `anthropic`, `gemini`, or `demo` for the gateway's own stand-in.
         * Absent: follows from the URL.
         */
        kind?: "openai" | "anthropic" | "gemini" | "demo" | null;
        /**
         * The full URL of its main call, chat completions or messages; the other calls sit beside it. At one of kind
         * `gemini` the model is in the path: the URL of any model's `generateContent`, or what stands before it. Only an
         * endpoint of kind `demo` may have none.
         */
        url?: string | null;
        /**
         * What stands behind the URL, which decides which members a body may have there and what they mean. Absent: a
         * vendor that is known by its host, else `generic`.
         */
        server?: "openai" | "azure" | "anthropic" | "generic" | "vllm" | "sglang" | "ollama" | "llamacpp" | "localai" | "lmstudio" | "tgi" | "textgen" | "litellm" | "openrouter" | "groq" | "mistral" | "deepseek" | "xai" | "gemini" | "together" | "fireworks" | "cerebras" | "perplexity" | "moonshot" | "zhipu" | "dashscope" | null;
        /**
         * Whether it serves Responses. `false`: such calls are translated to Chat Completions. Absent: what is known of
         * `server`, else `true`.
         */
        responses?: boolean | null;
        /**
         * Members of bodies that are forwarded to it besides those that its server is known to understand. They must not
         * change how much is generated or read, or where. Betas and members that change the price pass if they are named
         * here.
         */
        members?: string[] | null;
        /**
         * Tools that the provider runs itself. `remove`: they are taken out of a request, and named in `x-resullm-removed`
         * of its answer. `refuse`: such a request is refused. An object: the tokens that one call of each costs; the
         * others are taken out.
         */
        hosted_tools?: "remove" | "refuse" | Record<string, number> | null;
        /** The provider's key. It never reaches a client. */
        api_key?: string | {
          env: string;
        } | null;
        /**
         * Further keys of the provider, at most 64. An account's calls stay with one of all keys, because a provider
         * caches prompts by key; they move to the next one where the provider refuses it, or limits its rate.
         */
        api_keys?: (string | {
          env: string;
        })[] | null;
        /** The model of requests that name none. */
        default_model?: string | null;
        /**
         * The models that it serves, and no others; dated versions and `default_model` are among them. Absent or empty:
         * any.
         */
        models?: string[] | null;
        /**
         * Its share of the calls for a model that several endpoints list, relative to theirs. Endpoints of equal weight:
         * the less loaded one of two is asked.
         */
        weight?: number | null;
        /** Timeouts of its calls. */
        timeouts?: {
          /** Timeout for connecting. */
          connect?: string | null;
          /** Timeout until an answer begins. */
          first_byte?: string | null;
          /** The longest silence between two chunks of an answer. */
          idle?: string | null;
        } | null;
        /**
         * The most that its models can answer with, so that a call without a limit is not given one that they refuse.
         * Known models need none.
         */
        max_output_tokens?: number | null;
      }>;
      /**
       * Names of endpoints to ask, in this order, when those that serve a call's model fail before an answer has begun.
       * One is asked for the same model if its `models` has it, or if it has no list and speaks the same wire format;
       * else for its `default_model`. Models that the group or the key of a call may not use are not asked for.
       */
      fallbacks?: string[] | null;
      /** Bounds of what one call may try. */
      failover?: {
        /** Attempts at providers that one call makes at most. */
        attempts?: number | null;
        /** Time after the beginning of a call in which another attempt may begin. */
        timeout?: string | null;
      } | null;
      /**
       * What a token of each model costs, in tokens of the balance: one number, or one for each kind of token. Spelling
       * makes no difference, and a dated version costs what its model costs. `*` stands for every other model. A model
       * without a rate costs 1.
       */
      rates?: Record<string, number | {
        /** What a token of the prompt costs. */
        input?: number | null;
        /** What a token of the answer costs. */
        output?: number | null;
        /** What a token costs that the provider read from its prompt cache. Absent: as `input`. */
        cache_read?: number | null;
        /** What a token costs that the provider wrote to its prompt cache. Absent: as `input`. */
        cache_write?: number | null;
      }> | null;
      /** Serves only models that an endpoint's `models` or `default_model` names, or a rate other than `*`. */
      only_listed?: boolean | null;
    } | null;
    /** Voice over WebSockets. It is checked, and not in force yet. */
    realtime?: {
      /** Name of the endpoint that serves what no other is chosen for. */
      default: string;
      /** The endpoints, by a name of your own. */
      endpoints: Record<string, {
        /** The model of a session that names none. */
        model?: string | null;
        /** The voice that it speaks with. */
        voice?: string | null;
        /** Samples of audio a second. */
        sampleRate?: number | null;
        /** How its audio is encoded. */
        encoding?: string | null;
        /** The provider's key. It never reaches a client. */
        api_key?: string | {
          env: string;
        } | null;
      }>;
    } | null;
  } | null;
  /** What models cost in money, for usage records and sums. Absent: they have no amounts. */
  prices?: {
    /** The currency, as it is shown. */
    currency?: string | null;
    /**
     * What a million tokens of each model cost. Spelling makes no difference, and a dated version costs what its model
     * costs; `*` stands for every other model. A model without a price has no amounts.
     */
    models?: Record<string, {
      /** Tokens of the prompt. */
      input: number;
      /** Tokens of the answer. */
      output: number;
      /** Tokens that the provider read from its prompt cache. Absent: as `input`. */
      cache_read?: number | null;
      /** Tokens that the provider wrote to its prompt cache. Absent: as `input`. */
      cache_write?: number | null;
    }> | null;
  } | null;
  /** Answers given again without asking the provider. */
  caching?: {
    /** Whether answers are kept. */
    enabled?: boolean | null;
    /** Seconds for which a text answer is kept. */
    text_ttl?: number | null;
    /** Seconds for which a transcription is kept. */
    transcription_ttl?: number | null;
    /** What a cached answer costs, in percent of the first one. */
    fee_percentage?: number | null;
    /**
     * Who may get an answer that somebody has asked for: `tenant`, everybody; `user`, the same account alone. With
     * `tenant` a user can learn that another one has asked the same.
     */
    scope?: "tenant" | "user" | null;
    /** Whether answers that call tools are kept. */
    tools?: boolean | null;
  } | null;
  /** Address of the app that is told what happens to its people. Absent: nowhere. */
  events?: {
    /** Address that events are posted to. */
    url: string;
    /**
     * Secrets that they are signed with (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64. With more than
     * one, each event has a signature of each.
     */
    secrets: (string | {
      env: string;
    })[];
    /** The only types that are sent. Absent: all. */
    types?: ("user.created" | "payment.received" | "plan.changed" | "balance.low" | "key.spent")[] | null;
  } | null;
  /** Which web pages of other origins may call this tenant from the browser. Absent: none. */
  cors?: {
    /** Exact origins, as browsers write them; `*` stands for any. */
    origins?: string[] | null;
  } | null;
};

/** The tenant that was created. */
export type TenantCreated = {
  id: TenantId;
  /** Warnings: places of the config that will hardly do what was meant. */
  warnings?: {
    /** Place of the fault, as names with dots; empty for the config as a whole. */
    path: string;
    /** A sentence that says what is wrong there. */
    message: string;
  }[];
};

/** Letters, digits, `_` and `-`, beginning with a letter or a digit, and no route head such as `admin` or `v1`. */
export type TenantId = string;

/** Numbers of a tenant's secrets by what became of them. */
export type TenantSealed = {
  id: TenantId;
  /** Secrets that were readable before. */
  sealed: number;
  /** Secrets that an old key had sealed. */
  resealed: number;
  /** Secrets that the present key had sealed already. */
  kept: number;
};

/** What a tenant has. */
export type TenantTotals = {
  id: TenantId;
  /** Number of keys; some may have ended within the last hour. */
  keys: number;
  /** Number of people. */
  users: number;
  /** Sum of the last thirty days. */
  usage: UsageSum;
  /** Whether older records of these days are missing in `usage`. */
  incomplete?: boolean;
};

/** All tenants. */
export type Tenants = {
  /** Their IDs. */
  tenants: TenantId[];
  /** What each has, with `totals=true`. */
  totals?: TenantTotals[];
};

/** A tenant's own admin tokens, without the tokens themselves. */
export type TokenList = {
  /** In the order of their `name`. */
  tokens: ListedToken[];
};

/** What a tenant's own admin token opens. */
export type TokenScope = "admin" | "support" | "read" | "sessions";

/** Done. */
export type TokensSet = {
  success: true;
  /** Number of tokens that the tenant has now. */
  count: number;
};

/** Tokens that can be bought once. */
export type TopUp = {
  /** Name of the top-up, for a checkout. */
  topUp: string;
  /** Tokens that it adds to the balance. */
  tokens: number;
  /** ID of the price in Stripe. */
  price: string;
  /** Amount in the currency's smallest unit; `null`: Stripe does not say it now. */
  amount: number | null;
  /** Currency in three small letters. */
  currency: string | null;
};

/** Sums by day, model, account, key, group and endpoint, and the latest requests, newest first. */
export type Usage = {
  /** All of them. */
  total: UsageSum;
  /** By day, as `2026-11-29` (UTC). */
  byDay: Record<string, UsageSum>;
  /** By model, `-` for calls that named none. */
  byModel: Record<string, UsageSum>;
  /** By account, named by its `keyId`. */
  byAccount: Record<string, UsageSum>;
  /** By key, named by its ID; `-` for records without one. */
  byKey: Record<string, UsageSum>;
  /** By group that the account was in then. */
  byGroup: Record<string, UsageSum>;
  /** By endpoint that answered. */
  byEndpoint: Record<string, UsageSum>;
  /** One sum for each combination of what the query's `by` names. Absent without `by`. */
  rows?: UsageRow[];
  /**
   * Whether older requests of the time asked for are missing: the log no longer has them, or has too many. Absent
   * where none are.
   */
  incomplete?: boolean;
  /** The latest requests, newest first. */
  events: UsageEvent[];
};

/** One attempt at a provider. */
export type UsageAttempt = {
  /** The endpoint, by its name in the tenant's config. */
  endpoint: string;
  /** The model that it was asked for. */
  model: string | null;
  /** How the attempt ended, as in the metric `resullm_provider_answers_total`. */
  outcome: string;
  /** Part of the charge, in tokens of the balance. */
  cost: number;
};

/** One settled request. */
export type UsageEvent = {
  /** Moment when it was over. */
  time: string;
  /** The tenant's ID. */
  tenant: string;
  /** The account that paid, by its `keyId`. */
  account: string;
  /** The key that made the call, by its ID: 12 hex digits. Absent in records of earlier versions. */
  key?: string;
  /** The account's group. */
  group: string;
  /** The endpoint that answered, by its name in the tenant's config. */
  endpoint: string;
  /** The model, `null` where the call named none. */
  model: string | null;
  /** The call, as its path below `v1`. */
  call: string;
  /** The answer's `x-request-id`. */
  requestId: string;
  /** Tokens of the prompt. */
  tokensIn: number;
  /** Tokens of the answer. */
  tokensOut: number;
  /** Tokens of the prompt that the provider had cached. */
  tokensCached: number;
  /**
   * Basis of the charge: `reported`, `counted`, `held`, `cached` (the fee of an answer in the cache), `known` (what
   * was known before a crash) or `nothing`.
   */
  basis: string;
  /** Tokens of the prompt by the gateway's own count, where that was charged. */
  countedIn?: number;
  /** Tokens of the answer by the gateway's own count, where that was charged. */
  countedOut?: number;
  /** Rate of the model: tokens of the balance for a token of each kind, as in the tenant's `rates`. */
  rate?: number | {
    /** Tokens of the prompt. */
    input: number;
    /** Tokens of the answer. */
    output: number;
    /** Tokens that the provider read from its prompt cache. Absent: as `input`. */
    cacheRead?: number;
    /** Tokens that the provider wrote to its prompt cache. Absent: as `input`. */
    cacheWrite?: number;
  };
  /** Whether the provider reported the usage that was charged. */
  reported: boolean;
  /** Charge, in tokens of the balance. */
  cost: number;
  /** ID of the settlement, which no other request has. */
  id?: string;
  /** Status of the answer, 0 where none was written. */
  status: number;
  /** Milliseconds from the request to the end of its answer. */
  latencyMs: number;
  /** Cost in money, where the tenant has a price for the model. */
  amount?: number;
  /** Currency of `amount`. */
  currency?: string;
  /** `hit` where the answer came from the cache; it has no tokens of its own. */
  cache?: string;
  /** All attempts in order, where there was more than one; the last one is the one that `endpoint` and `model` name. */
  attempts?: UsageAttempt[];
  /** Whether the record was written at the next start, after a crash. Then its status and latency are 0. */
  recovered?: boolean;
};

/** Sum of the requests that have all of these in common. */
export type UsageRow = {
  /** The day in UTC, where `by` has `day`. */
  day?: string;
  /** The model, `-` for calls that named none, where `by` has `model`. */
  model?: string;
  /** The account's group, where `by` has `group`. */
  group?: string;
  /** The endpoint, where `by` has `endpoint`. */
  endpoint?: string;
  /** The key's ID, `-` for records without one, where `by` has `key`. */
  key?: string;
  /** The account, named by its `keyId`, where `by` has `account`. */
  account?: string;
  /** Number of requests. */
  requests: number;
  /** Tokens of their prompts. */
  tokensIn: number;
  /** Tokens of their answers. */
  tokensOut: number;
  /** Tokens of their prompts that the provider had cached. */
  tokensCached: number;
  /** Charge, in tokens of the balance. */
  cost: number;
  /** Cost in money, by currency, where the tenant has prices. */
  amounts?: Record<string, number>;
};

/** Sums of requests. */
export type UsageSum = {
  /** Number of requests. */
  requests: number;
  /** Tokens of their prompts. */
  tokensIn: number;
  /** Tokens of their answers. */
  tokensOut: number;
  /** Tokens of their prompts that the provider had cached. */
  tokensCached: number;
  /** Charge, in tokens of the balance. */
  cost: number;
  /** Cost in money, by currency, where the tenant has prices. */
  amounts?: Record<string, number>;
};

/** A person with all that helps to understand them. */
export type UserDetails = {
  /** Names the account in usage records. */
  id: string;
  /** Name of the account. */
  account: string;
  /** The app's own ID of the user; `null`: none. */
  userId: string | null;
  /** Group of the account. */
  group: string;
  /** Balance of the account. */
  tokensLeft: number;
  /** Part of the balance that no request in flight holds. */
  tokensFree: number;
  /** Used, but no longer there to be charged: what an estimate fell short of. */
  overrun: number;
  /** Moment when the account was made; absent: not known. */
  createdAt?: string;
  /** Whether the account is suspended. */
  suspended: boolean;
  /** Other identities that lead to the account. */
  identities: string[];
  /** The keys, newest first. */
  keys: ListedKey[];
  /** Parts of the balance that requests in flight and leases of instances hold. */
  holds: Holding[];
  /** Payments, where there are any. */
  payments?: AccountPayments;
  /** The latest requests of the last thirty days, at most 20. */
  requests: UsageEvent[];
};

/** A group of accounts. */
export type UserGroup = {
  /** The balance that an account begins with, in tokens. */
  tokens: number;
  /**
   * The only models that its accounts may ask for, as they write them, or as `<endpoint>/<model>`. Dated versions
   * are the same model. Absent: all.
   */
  models?: string[] | null;
  /** Requests that an account may make in any window. Absent: no limit. */
  rate_limit?: number | null;
  /** Length of the window, in seconds. */
  rate_limit_window?: number | null;
  /**
   * Calls of one account in flight, on all gateways together. Each call of the group asks the store then. A call
   * that a crash left open counts until its hold ends (`accounts.hold_ttl`). Absent: no limit.
   */
  max_concurrent?: number | null;
  /**
   * The balance that an account has at least when a period begins. It comes with the first request of the period,
   * and only raises: what is above it stays. Absent: none.
   */
  refill?: {
    /** The balance after it, in tokens. */
    tokens: number;
    /** When a period begins: `24h` at midnight UTC, `month` with the calendar month in UTC. */
    every?: "24h" | "month" | null;
  } | null;
  /**
   * The price in Stripe, of a subscription, that this group is sold at. Each period that is paid adds `tokens`.
   * Absent: the group is not for sale.
   */
  stripe_price?: string | null;
  /**
   * Further prices that stand for this group, by their IDs: former ones that people still pay, a year's, those of
   * the customer portal.
   */
  stripe_prices?: Record<string, {
    /** Tokens that a period paid at this price is worth. Absent: the group's `tokens`. */
    tokens?: number | null;
  }> | null;
  /** Days for which a first subscription to this group is free, once an account. */
  trial_days?: number | null;
  /** Tokens that a trial of this group adds to the balance, once an account. */
  trial_tokens?: number | null;
};

/** An event that was taken. */
export type WebhookTaken = {
  /** Always `true`: Stripe need not send it again. */
  received: boolean;
  /** Reason why it does nothing. */
  ignored?: string | null;
  /** Tokens that it has added to a balance, or taken. */
  tokens?: number | null;
  /** Group that an account has moved to. */
  group?: string | null;
};

// ---- Functions

/** Say who answers here. */
export async function root(gateway: Gateway): Promise<Root> {
  const response = await send(gateway, {
    method: "GET",
    path: "/",
  });
  return (await response.json()) as Root;
}

/** Say who answers here. */
export async function rootHead(gateway: Gateway): Promise<void> {
  await send(gateway, {
    method: "HEAD",
    path: "/",
  });
}

/** Is the process alive? */
export async function healthz(gateway: Gateway): Promise<Alive> {
  const response = await send(gateway, {
    method: "GET",
    path: "/healthz",
  });
  return (await response.json()) as Alive;
}

/** Is the process alive? */
export async function healthzHead(gateway: Gateway): Promise<void> {
  await send(gateway, {
    method: "HEAD",
    path: "/healthz",
  });
}

/** May traffic be sent here? */
export async function readyz(gateway: Gateway): Promise<Ready> {
  const response = await send(gateway, {
    method: "GET",
    path: "/readyz",
  });
  return (await response.json()) as Ready;
}

/** May traffic be sent here? */
export async function readyzHead(gateway: Gateway): Promise<void> {
  await send(gateway, {
    method: "HEAD",
    path: "/readyz",
  });
}

/** This document. */
export async function openapi(gateway: Gateway): Promise<Record<string, unknown>> {
  const response = await send(gateway, {
    method: "GET",
    path: "/openapi.json",
  });
  return (await response.json()) as Record<string, unknown>;
}

/** This document. */
export async function openapiHead(gateway: Gateway): Promise<void> {
  await send(gateway, {
    method: "HEAD",
    path: "/openapi.json",
  });
}

/** This document as a page. For a browser. The page reads `openapi.json` beside it, and tries each operation out. */
export async function docs(gateway: Gateway): Promise<string> {
  const response = await send(gateway, {
    method: "GET",
    path: "/docs",
  });
  return (await response.text()) as string;
}

/** This document as a page. For a browser. The page reads `openapi.json` beside it, and tries each operation out. */
export async function docsHead(gateway: Gateway): Promise<void> {
  await send(gateway, {
    method: "HEAD",
    path: "/docs",
  });
}

/** Probe a tenant. */
export async function tenant(gateway: Gateway): Promise<Root> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default"),
  });
  return (await response.json()) as Root;
}

/** Probe a tenant. */
export async function tenantHead(gateway: Gateway): Promise<void> {
  await send(gateway, {
    method: "HEAD",
    path: "/" + segment(gateway.tenant ?? "default"),
  });
}

/** See what the tenant sells. */
export async function listPlans(gateway: Gateway): Promise<Plans> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/billing/plans",
  });
  return (await response.json()) as Plans;
}

/**
 * Begin a payment. The answer has a page of Stripe's for the person's browser. What is paid there is granted a
 * moment later, when Stripe has told the gateway.
 */
export async function checkOut(gateway: Gateway, given: {
  /** Purchase of a group or a top-up. */
  body: Checkout;
}): Promise<CheckoutPage> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/billing/checkout",
    credential: gateway.key,
    json: given.body,
  });
  return (await response.json()) as CheckoutPage;
}

/** Change or end a subscription. The answer has the address of Stripe's customer portal for the person's browser. */
export async function openPortal(gateway: Gateway, given: {
  /** Page to come back to from the portal. */
  body?: PortalCall;
} = {}): Promise<CheckoutPage> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/billing/portal",
    credential: gateway.key,
    json: given.body,
  });
  return (await response.json()) as CheckoutPage;
}

/**
 * Take an event of Stripe's. The webhook's address in Stripe's dashboard. Its signature is checked over the bytes
 * of the body; what does nothing is answered 200 as well, and says why.
 */
export async function stripeWebhook(gateway: Gateway, given: {
  /** An event of Stripe's, as far as it is described here. */
  body: StripeEvent;
}): Promise<WebhookTaken> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/billing/stripe",
    json: given.body,
  });
  return (await response.json()) as WebhookTaken;
}

/**
 * Get a key without signing in. No body is needed. The key is what an SDK takes as its API key. It expires, after
 * 24 hours unless the operator set another time.
 */
export async function signInAnonymously(gateway: Gateway): Promise<NewKey> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/anonymous",
  });
  return (await response.json()) as NewKey;
}

/** See what a key's account has used. */
export async function ownUsage(gateway: Gateway, given: {
  /** Days to look back. */
  days?: number;
} = {}): Promise<OwnUsage> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/usage",
    query: { days: given.days },
    credential: gateway.key,
  });
  return (await response.json()) as OwnUsage;
}

/**
 * List the keys of an account. With a key that may manage its account: one of a sign-in, or one made with it and
 * without bounds.
 */
export async function listOwnKeys(gateway: Gateway): Promise<OwnKeys> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/keys",
    credential: gateway.key,
  });
  return (await response.json()) as OwnKeys;
}

/** Make another key of an account. */
export async function makeOwnKey(gateway: Gateway, given: {
  /** A key that a person makes for itself. */
  body?: NewOwnKey;
} = {}): Promise<OwnKey> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/keys",
    credential: gateway.key,
    json: given.body,
  });
  return (await response.json()) as OwnKey;
}

/** Revoke a key of an account. */
export async function revokeOwnKey(gateway: Gateway, given: {
  /** The key's `id`. */
  id: string;
}): Promise<Success> {
  const response = await send(gateway, {
    method: "DELETE",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/keys/" + segment(given.id),
    credential: gateway.key,
  });
  return (await response.json()) as Success;
}

/**
 * Replace a key of an account by a new one. The new key has the bounds of the old one, less what that has spent.
 * The old one ends at once.
 */
export async function rollOwnKey(gateway: Gateway, given: {
  /** The key's `id`. */
  id: string;
}): Promise<OwnKey> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/keys/" + segment(given.id) + "/roll",
    credential: gateway.key,
  });
  return (await response.json()) as OwnKey;
}

/**
 * Sign in with an ID token of Google. The key of an anonymous account may be sent as `Authorization: Bearer`. Each
 * sign-in gives a key of its own; the account is the same each time.
 */
export async function signInWithGoogle(gateway: Gateway, given: {
  /** An ID token that an issuer gave to the app. */
  body: SignIn;
}): Promise<SignedIn> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/google",
    json: given.body,
  });
  return (await response.json()) as SignedIn;
}

/**
 * Begin a sign-in with Google in the browser. The browser is sent here, with a PKCE challenge of the app. It ends
 * at `redirect_uri`. Returns the address for the browser to go to.
 */
export function startSignInWithGoogle(gateway: Gateway, given: {
  /** Where the sign-in ends: one of the `redirect_uris` of the tenant's config, to the letter. */
  redirect_uri?: string;
  /** SHA-256 of the code verifier, in base64url without padding. */
  code_challenge?: string;
  /** How the challenge was made: `S256`. */
  code_challenge_method?: string;
  /** A text that the app gets back with the code. */
  state?: string | null;
} = {}): string {
  return address(gateway, {
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/google/start",
    query: { redirect_uri: given.redirect_uri, code_challenge: given.code_challenge, code_challenge_method: given.code_challenge_method, state: given.state },
  });
}

/**
 * Come back from Google. The issuer sends the browser here. Register this address with it. Returns the address for
 * the browser to go to.
 */
export function endSignInWithGoogle(gateway: Gateway, given: {
  /** The issuer's code. */
  code?: string | null;
  /** The text that this gateway gave the issuer. */
  state?: string | null;
  /** Why there is no code. */
  error?: string | null;
  /** The issuer, where it names itself. */
  iss?: string | null;
} = {}): string {
  return address(gateway, {
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/google/callback",
    query: { code: given.code, state: given.state, error: given.error, iss: given.iss },
  });
}

/** Come back from Google with a form. Apple comes back in this way (`form_post`). */
export async function postSignInWithGoogle(gateway: Gateway, given: {
  /** Parameters with which an issuer sends the browser back. */
  body: CallbackQuery;
}): Promise<void> {
  await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/google/callback",
    form: given.body,
  });
}

/**
 * Sign in with an ID token of Apple. The key of an anonymous account may be sent as `Authorization: Bearer`. Each
 * sign-in gives a key of its own; the account is the same each time.
 */
export async function signInWithApple(gateway: Gateway, given: {
  /** An ID token that an issuer gave to the app. */
  body: SignIn;
}): Promise<SignedIn> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/apple",
    json: given.body,
  });
  return (await response.json()) as SignedIn;
}

/**
 * Begin a sign-in with Apple in the browser. The browser is sent here, with a PKCE challenge of the app. It ends
 * at `redirect_uri`. Returns the address for the browser to go to.
 */
export function startSignInWithApple(gateway: Gateway, given: {
  /** Where the sign-in ends: one of the `redirect_uris` of the tenant's config, to the letter. */
  redirect_uri?: string;
  /** SHA-256 of the code verifier, in base64url without padding. */
  code_challenge?: string;
  /** How the challenge was made: `S256`. */
  code_challenge_method?: string;
  /** A text that the app gets back with the code. */
  state?: string | null;
} = {}): string {
  return address(gateway, {
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/apple/start",
    query: { redirect_uri: given.redirect_uri, code_challenge: given.code_challenge, code_challenge_method: given.code_challenge_method, state: given.state },
  });
}

/**
 * Come back from Apple. The issuer sends the browser here. Register this address with it. Returns the address for
 * the browser to go to.
 */
export function endSignInWithApple(gateway: Gateway, given: {
  /** The issuer's code. */
  code?: string | null;
  /** The text that this gateway gave the issuer. */
  state?: string | null;
  /** Why there is no code. */
  error?: string | null;
  /** The issuer, where it names itself. */
  iss?: string | null;
} = {}): string {
  return address(gateway, {
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/apple/callback",
    query: { code: given.code, state: given.state, error: given.error, iss: given.iss },
  });
}

/** Come back from Apple with a form. Apple comes back in this way (`form_post`). */
export async function postSignInWithApple(gateway: Gateway, given: {
  /** Parameters with which an issuer sends the browser back. */
  body: CallbackQuery;
}): Promise<void> {
  await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/apple/callback",
    form: given.body,
  });
}

/**
 * Sign in with an ID token of another issuer. The key of an anonymous account may be sent as `Authorization:
 * Bearer`. Each sign-in gives a key of its own; the account is the same each time.
 */
export async function signInWithOidc(gateway: Gateway, given: {
  /** Name of the issuer in the tenant's `auth.oidc`. */
  name: string;
  /** An ID token that an issuer gave to the app. */
  body: SignIn;
}): Promise<SignedIn> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/oidc/" + segment(given.name),
    json: given.body,
  });
  return (await response.json()) as SignedIn;
}

/**
 * Begin a sign-in with another issuer in the browser. The browser is sent here, with a PKCE challenge of the app.
 * It ends at `redirect_uri`. Returns the address for the browser to go to.
 */
export function startSignInWithOidc(gateway: Gateway, given: {
  /** Name of the issuer in the tenant's `auth.oidc`. */
  name: string;
  /** Where the sign-in ends: one of the `redirect_uris` of the tenant's config, to the letter. */
  redirect_uri?: string;
  /** SHA-256 of the code verifier, in base64url without padding. */
  code_challenge?: string;
  /** How the challenge was made: `S256`. */
  code_challenge_method?: string;
  /** A text that the app gets back with the code. */
  state?: string | null;
}): string {
  return address(gateway, {
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/oidc/" + segment(given.name) + "/start",
    query: { redirect_uri: given.redirect_uri, code_challenge: given.code_challenge, code_challenge_method: given.code_challenge_method, state: given.state },
  });
}

/**
 * Come back from another issuer. The issuer sends the browser here. Register this address with it. Returns the
 * address for the browser to go to.
 */
export function endSignInWithOidc(gateway: Gateway, given: {
  /** Name of the issuer in the tenant's `auth.oidc`. */
  name: string;
  /** The issuer's code. */
  code?: string | null;
  /** The text that this gateway gave the issuer. */
  state?: string | null;
  /** Why there is no code. */
  error?: string | null;
  /** The issuer, where it names itself. */
  iss?: string | null;
}): string {
  return address(gateway, {
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/oidc/" + segment(given.name) + "/callback",
    query: { code: given.code, state: given.state, error: given.error, iss: given.iss },
  });
}

/** Come back from another issuer with a form. Apple comes back in this way (`form_post`). */
export async function postSignInWithOidc(gateway: Gateway, given: {
  /** Name of the issuer in the tenant's `auth.oidc`. */
  name: string;
  /** Parameters with which an issuer sends the browser back. */
  body: CallbackQuery;
}): Promise<void> {
  await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/oidc/" + segment(given.name) + "/callback",
    form: given.body,
  });
}

/** Get a key for the code of a sign-in. The code works for a minute and once, right or wrong. */
export async function redeemCode(gateway: Gateway, given: {
  /** The code that a sign-in in the browser ended with. */
  body: RedeemCode;
}): Promise<SignedIn> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/token",
    json: given.body,
  });
  return (await response.json()) as SignedIn;
}

/** See what a key is worth. */
export async function me(gateway: Gateway): Promise<Me> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/me",
    credential: gateway.key,
  });
  return (await response.json()) as Me;
}

/**
 * Delete an account. The account, its keys and its links to identities end at once; Apple is told. What is left of
 * the balance is lost. Who comes back within `retention.deleted_accounts` does not begin with a group's tokens
 * once more.
 */
export async function deleteAccount(gateway: Gateway): Promise<Success> {
  const response = await send(gateway, {
    method: "DELETE",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/me",
    credential: gateway.key,
  });
  return (await response.json()) as Success;
}

/** Get all that is kept of an account. */
export async function exportAccount(gateway: Gateway): Promise<Export> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/export",
    credential: gateway.key,
  });
  return (await response.json()) as Export;
}

/**
 * Get a key for one of the app's users. For an app with a log-in of its own: its backend asks, with an admin token
 * or one of scope `sessions`, and hands the key to the user. The same `userId` is the same account, which begins
 * with its group's tokens.
 */
export async function openSession(gateway: Gateway, given: {
  /** A key for one of the app's users, as its backend asks for it. */
  body: Session;
}): Promise<SessionKey> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/auth/sessions",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as SessionKey;
}

/** See what Stripe has told of late. */
export async function listPaymentEvents(gateway: Gateway): Promise<PaymentEvents> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/payments",
    credential: gateway.adminToken,
  });
  return (await response.json()) as PaymentEvents;
}

/** List people, newest first. */
export async function listUsers(gateway: Gateway, given: {
  /** Most entries on the page; absent: 50. */
  limit?: number;
  /** `cursor` of the page before. */
  cursor?: string;
  /** Only those of this group. */
  group?: string;
  /** Only those of this user, by the app's own ID. */
  userId?: string;
  /** Only those that are suspended, or only those that are not. */
  suspended?: boolean;
} = {}): Promise<AdminUsers> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users",
    query: { limit: given.limit, cursor: given.cursor, group: given.group, userId: given.userId, suspended: given.suspended },
    credential: gateway.adminToken,
  });
  return (await response.json()) as AdminUsers;
}

/** Add to a person's balance. As for a key: with an `id` it is safe to repeat. */
export async function creditUser(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
  /** Tokens to be added to a balance, or taken from it. */
  body: Credit;
}): Promise<Credited> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user) + "/credit",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as Credited;
}

/** Take from a person's balance. As for a key: only what no request in flight holds, and all of it or nothing. */
export async function debitUser(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
  /** Tokens to be added to a balance, or taken from it. */
  body: Credit;
}): Promise<Credited> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user) + "/debit",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as Credited;
}

/**
 * Suspend a person's account, or take its calls again. `user` is the name of the account, `p_…`, its `id` as usage
 * records have it, or the app's own ID of the user, percent-encoded.
 */
export async function suspendUser(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
  /** Whether an account's calls are refused. */
  body: Suspend;
}): Promise<Suspended> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user) + "/suspend",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as Suspended;
}

/**
 * See every change of a person's balance. `user` is the name of the account, `p_…`, its `id` as usage records have
 * it, or the app's own ID of the user, percent-encoded.
 */
export async function readUserLedger(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
  /** Number of `postings`. */
  limit?: number;
  /** Where to go on: `cursor` of the page before. */
  cursor?: string;
}): Promise<AccountLedger> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user) + "/ledger",
    query: { limit: given.limit, cursor: given.cursor },
    credential: gateway.adminToken,
  });
  return (await response.json()) as AccountLedger;
}

/**
 * See what a person has paid. `user` is the name of the account, `p_…`, its `id` as usage records have it, or the
 * app's own ID of the user, percent-encoded.
 */
export async function listUserPayments(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
}): Promise<AccountPayments> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user) + "/payments",
    credential: gateway.adminToken,
  });
  return (await response.json()) as AccountPayments;
}

/**
 * Show a person with keys, holds, payments and the latest requests. `user` is the name of the account, `p_…`, its
 * `id` as usage records have it, or the app's own ID of the user, percent-encoded.
 */
export async function showUser(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
}): Promise<UserDetails> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user),
    credential: gateway.adminToken,
  });
  return (await response.json()) as UserDetails;
}

/**
 * Delete a person's account. `user` is the name of the account, `p_…`, its `id` as usage records have it, or the
 * app's own ID of the user, percent-encoded.
 */
export async function deleteUser(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
}): Promise<Success> {
  const response = await send(gateway, {
    method: "DELETE",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user),
    credential: gateway.adminToken,
  });
  return (await response.json()) as Success;
}

/**
 * Get all that is kept of a person. `user` is the name of the account, `p_…`, its `id` as usage records have it,
 * or the app's own ID of the user, percent-encoded.
 */
export async function exportUser(gateway: Gateway, given: {
  /** Name of the account, or the app's own ID of the user. */
  user: string;
}): Promise<Export> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/users/" + segment(given.user) + "/export",
    credential: gateway.adminToken,
  });
  return (await response.json()) as Export;
}

/** List the tenant's own admin tokens. Names and scopes; the tokens themselves are not kept. Needs scope `admin`. */
export async function listTokens(gateway: Gateway): Promise<TokenList> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/tokens",
    credential: gateway.adminToken,
  });
  return (await response.json()) as TokenList;
}

/** Make an admin token of the tenant. The token is drawn by the gateway and shown once. Needs scope `admin`. */
export async function makeToken(gateway: Gateway, given: {
  /** An admin token to be made. */
  body: NewToken;
}): Promise<MadeToken> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/tokens",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as MadeToken;
}

/** Delete an admin token of the tenant. It opens nothing from the next request on. Needs scope `admin`. */
export async function deleteToken(gateway: Gateway, given: {
  /** Name of the token. */
  token: string;
}): Promise<Success> {
  const response = await send(gateway, {
    method: "DELETE",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/tokens/" + segment(given.token),
    credential: gateway.adminToken,
  });
  return (await response.json()) as Success;
}

/** Read the tenant's config. A token of scope `support` or `read` always sees masks in place of secrets. */
export async function readConfig(gateway: Gateway, given: {
  /** Whether secrets are shown as masks, `masked:v1:…`. A config that is put back with masks keeps what was there. */
  redact?: boolean;
} = {}): Promise<Config> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/config",
    query: { redact: given.redact },
    credential: gateway.adminToken,
  });
  return (await response.json()) as Config;
}

/**
 * Replace the tenant's config. The whole config is replaced, and the one before is kept. Send the `ETag` of the
 * one that was read as `If-Match`, so that nobody's change is lost. A mask or a sealed text is taken only where
 * scheme, host and port that it is sent to are those that it was stored with.
 */
export async function replaceConfig(gateway: Gateway, given: {
  /** The `ETag` that must still be the config's. */
  ifMatch?: string;
  /** A tenant's config in its envelope. */
  body: Config;
}): Promise<ConfigStored> {
  const response = await send(gateway, {
    method: "PUT",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/config",
    headers: { "If-Match": given.ifMatch },
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as ConfigStored;
}

/** List the configs that were replaced. */
export async function listConfigs(gateway: Gateway): Promise<ConfigHistory> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/config/history",
    credential: gateway.adminToken,
  });
  return (await response.json()) as ConfigHistory;
}

/** Show a config that was replaced. */
export async function showConfig(gateway: Gateway, given: {
  /** Number of a config that was replaced. */
  version: number;
}): Promise<ConfigVersion> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/config/history/" + segment(given.version),
    credential: gateway.adminToken,
  });
  return (await response.json()) as ConfigVersion;
}

/** Put a config back that was replaced. */
export async function restoreConfig(gateway: Gateway, given: {
  /** Number of a config that was replaced. */
  version: number;
  /** The `ETag` that must still be the config's. */
  ifMatch?: string;
}): Promise<ConfigStored> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/config/history/" + segment(given.version) + "/restore",
    headers: { "If-Match": given.ifMatch },
    credential: gateway.adminToken,
  });
  return (await response.json()) as ConfigStored;
}

/** See who changed what. */
export async function listChanges(gateway: Gateway, given: {
  /** Most changes in the answer. */
  limit?: number | null;
  /** Only changes since this moment, such as `2026-01-31T12:00:00Z`. */
  since?: string | null;
  /** Only changes before this moment, as `since`. */
  until?: string | null;
  /** Only changes of this kind, such as `key.credited`. */
  action?: string | null;
  /** `cursor` of the answer before. */
  cursor?: string | null;
} = {}): Promise<AuditRecords> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/audit",
    query: { limit: given.limit, since: given.since, until: given.until, action: given.action, cursor: given.cursor },
    credential: gateway.adminToken,
  });
  return (await response.json()) as AuditRecords;
}

/**
 * What the tenant's accounts have used. `format=csv` answers a table with a line for each combination of what `by`
 * names. A cell that a spreadsheet could take for a formula begins with `'`. Where older requests of the time
 * asked for are missing, JSON has `incomplete`, and a table is refused (400).
 */
export async function showUsage(gateway: Gateway, given: {
  /** Days to look back from `until`, or from now. Not together with `since`. */
  days?: number;
  /**
   * Only requests that were over at this moment or later, such as `2026-01-31T12:00:00Z`; a mere date is the
   * beginning of that day in UTC.
   */
  since?: string;
  /** Only requests that were over before this moment, written as `since`. */
  until?: string;
  /** Only requests for this model; `-`: those that named none. */
  model?: string;
  /** Only this key's requests: its ID, 12 hex digits; `-`: those of records without a key. */
  key?: string;
  /** Only this account's requests: its `keyId`. */
  account?: string;
  /** Only requests of accounts that were in this group then. */
  group?: string;
  /** Only requests that this endpoint answered. */
  endpoint?: string;
  /**
   * What `rows` are by: some of `day`, `model`, `group`, `endpoint`, `key` and `account`, separated by commas. A
   * table (`csv`) is by all of them unless it is told otherwise.
   */
  by?: string;
  /** Number of the latest requests to show. A table shows none. */
  limit?: number;
  /** Form of the answer. */
  format?: "json" | "csv";
} = {}): Promise<Usage> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/usage",
    query: { days: given.days, since: given.since, until: given.until, model: given.model, key: given.key, account: given.account, group: given.group, endpoint: given.endpoint, by: given.by, limit: given.limit, format: given.format },
    credential: gateway.adminToken,
  });
  return (await response.json()) as Usage;
}

/** List keys, newest first. */
export async function listKeys(gateway: Gateway, given: {
  /** Most entries on the page; absent: 50. */
  limit?: number;
  /** `cursor` of the page before. */
  cursor?: string;
  /** Only those of this group. */
  group?: string;
  /** Only those of this user, by the app's own ID. */
  userId?: string;
  /** Only those that are suspended, or only those that are not. */
  suspended?: boolean;
} = {}): Promise<AdminKeys> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys",
    query: { limit: given.limit, cursor: given.cursor, group: given.group, userId: given.userId, suspended: given.suspended },
    credential: gateway.adminToken,
  });
  return (await response.json()) as AdminKeys;
}

/** Mint a key. */
export async function mintKey(gateway: Gateway, given: {
  /** Parameters of a new key. Every field may be left out. */
  body?: Mint;
} = {}): Promise<MintedKey> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as MintedKey;
}

/** Show a key's account. `key` is the key's `id`, or the key itself. */
export async function showKey(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
}): Promise<Account> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key),
    credential: gateway.adminToken,
  });
  return (await response.json()) as Account;
}

/**
 * Change group, user, expiry and tokens of a key in one step. So a trial becomes a member. A change of the group
 * alone leaves the balance as it is. With an `id` the tokens are added once; after a 503 that names an id, repeat
 * it with that.
 */
export async function moveKey(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
  /** Changes of a key's account, all in one step. At least one must be there. */
  body: Move;
}): Promise<Moved> {
  const response = await send(gateway, {
    method: "PATCH",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key),
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as Moved;
}

/** Revoke a key. */
export async function revokeKey(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
}): Promise<Success> {
  const response = await send(gateway, {
    method: "DELETE",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key),
    credential: gateway.adminToken,
  });
  return (await response.json()) as Success;
}

/**
 * Replace a key by a new one. The account stays, with its balance and its ledger. The old key is unknown from then
 * on.
 */
export async function rollKey(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
}): Promise<RolledKey> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key) + "/roll",
    credential: gateway.adminToken,
  });
  return (await response.json()) as RolledKey;
}

/**
 * Suspend a key's account, or take its calls again. Of a person's key it is the account: all of its keys are
 * refused.
 */
export async function suspendKey(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
  /** Whether an account's calls are refused. */
  body: Suspend;
}): Promise<Suspended> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key) + "/suspend",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as Suspended;
}

/** See every change of a key's balance. Of a person's key it is the ledger of the account. */
export async function readKeyLedger(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
  /** Number of `postings`. */
  limit?: number;
  /** Where to go on: `cursor` of the page before. */
  cursor?: string;
}): Promise<AccountLedger> {
  const response = await send(gateway, {
    method: "GET",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key) + "/ledger",
    query: { limit: given.limit, cursor: given.cursor },
    credential: gateway.adminToken,
  });
  return (await response.json()) as AccountLedger;
}

/**
 * Take from a key's balance. Only what no request in flight holds is taken, and all of it or nothing. With an `id`
 * it is safe to repeat, as a credit is.
 */
export async function debitKey(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
  /** Tokens to be added to a balance, or taken from it. */
  body: Credit;
}): Promise<Credited> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key) + "/debit",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as Credited;
}

/**
 * Add to a key's balance. With an `id` it is safe to repeat: the same credit is applied once. After a 503 that
 * names an id it may be there or not, or may yet be lost: repeat it with that id.
 */
export async function creditKey(gateway: Gateway, given: {
  /** The key itself. */
  key: string;
  /** Tokens to be added to a balance, or taken from it. */
  body: Credit;
}): Promise<Credited> {
  const response = await send(gateway, {
    method: "POST",
    path: "/" + segment(gateway.tenant ?? "default") + "/admin/keys/" + segment(given.key) + "/credit",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as Credited;
}

/** See what the operator changed. */
export async function listOperatorChanges(gateway: Gateway, given: {
  /** Most changes in the answer. */
  limit?: number | null;
  /** Only changes since this moment, such as `2026-01-31T12:00:00Z`. */
  since?: string | null;
  /** Only changes before this moment, as `since`. */
  until?: string | null;
  /** Only changes of this kind, such as `key.credited`. */
  action?: string | null;
  /** `cursor` of the answer before. */
  cursor?: string | null;
} = {}): Promise<AuditRecords> {
  const response = await send(gateway, {
    method: "GET",
    path: "/admin/audit",
    query: { limit: given.limit, since: given.since, until: given.until, action: given.action, cursor: given.cursor },
    credential: gateway.adminToken,
  });
  return (await response.json()) as AuditRecords;
}

/** List the tenants. */
export async function listTenants(gateway: Gateway, given: {
  /** Whether the answer has `totals`. */
  totals?: boolean;
} = {}): Promise<Tenants> {
  const response = await send(gateway, {
    method: "GET",
    path: "/admin/tenants",
    query: { totals: given.totals },
    credential: gateway.adminToken,
  });
  return (await response.json()) as Tenants;
}

/** Create a tenant. */
export async function createTenant(gateway: Gateway, given: {
  /** A tenant that does not exist yet. */
  body: NewTenant;
}): Promise<TenantCreated> {
  const response = await send(gateway, {
    method: "POST",
    path: "/admin/tenants",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as TenantCreated;
}

/** Read a tenant's config. */
export async function readTenant(gateway: Gateway, given: {
  /** Which tenant. */
  tenant: TenantId;
  /** Whether secrets are shown as masks, `masked:v1:…`. A config that is put back with masks keeps what was there. */
  redact?: boolean;
}): Promise<Config> {
  const response = await send(gateway, {
    method: "GET",
    path: "/admin/tenants/" + segment(given.tenant),
    query: { redact: given.redact },
    credential: gateway.adminToken,
  });
  return (await response.json()) as Config;
}

/** Create a tenant or replace its config. */
export async function putTenant(gateway: Gateway, given: {
  /** Which tenant. */
  tenant: TenantId;
  /** The `ETag` that must still be the config's. */
  ifMatch?: string;
  /** A tenant's config in its envelope. */
  body: Config;
}): Promise<ConfigStored> {
  const response = await send(gateway, {
    method: "PUT",
    path: "/admin/tenants/" + segment(given.tenant),
    headers: { "If-Match": given.ifMatch },
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as ConfigStored;
}

/** Delete a tenant. */
export async function deleteTenant(gateway: Gateway, given: {
  /** Which tenant. */
  tenant: TenantId;
}): Promise<Success> {
  const response = await send(gateway, {
    method: "DELETE",
    path: "/admin/tenants/" + segment(given.tenant),
    credential: gateway.adminToken,
  });
  return (await response.json()) as Success;
}

/**
 * Seal a tenant's secrets with the present key. Those that are readable in the store, and those that one of
 * `secrets.old_keys` has sealed. When all tenants are through, the old key can go.
 */
export async function sealTenant(gateway: Gateway, given: {
  /** Which tenant. */
  tenant: TenantId;
}): Promise<TenantSealed> {
  const response = await send(gateway, {
    method: "POST",
    path: "/admin/tenants/" + segment(given.tenant) + "/seal",
    credential: gateway.adminToken,
  });
  return (await response.json()) as TenantSealed;
}

/**
 * Set a tenant's own admin tokens. All of them are replaced; an empty list leaves the operator's token alone. They
 * are stored only as hashes and cannot be read back.
 */
export async function setAdminTokens(gateway: Gateway, given: {
  /** Which tenant. */
  tenant: TenantId;
  /** All of a tenant's own admin tokens. */
  body: AdminTokens;
}): Promise<TokensSet> {
  const response = await send(gateway, {
    method: "PUT",
    path: "/admin/tenants/" + segment(given.tenant) + "/tokens",
    credential: gateway.adminToken,
    json: given.body,
  });
  return (await response.json()) as TokensSet;
}
