// The page: who is here, what is left, and the conversation. What comes from outside is shown as text, never as HTML.
import { Failed, account, chat, mint, revoke } from "./gateway.js";
import { beginSignIn, endSignIn } from "./sign-in.js";

const part = (id) => document.getElementById(id);

// A visitor's key stays in this browser, because its balance does. A person's key manages the account: it ends with the
// tab, and signing in again costs a click.
const visitor = keptIn(localStorage, "visitor-key");
const person = keptIn(sessionStorage, "person-key");

function keptIn(storage, name) {
  return {
    read() {
      const kept = JSON.parse(storage.getItem(name) ?? "null");
      const hasEnded = kept?.expiresAt && new Date(kept.expiresAt) < new Date();
      return kept && !hasEnded ? kept.apiKey : null;
    },
    keep: ({ apiKey, expiresAt }) => storage.setItem(name, JSON.stringify({ apiKey, expiresAt })),
    forget: () => storage.removeItem(name),
  };
}

// The key to call with: the person's, else the visitor's, which is minted once.
async function currentKey() {
  if (!person.read() && !visitor.read()) visitor.keep(await mint());
  return person.read() ?? visitor.read();
}

// Conversation so far, as the model gets it.
let messages = [];
// Ends the answer that is being written.
let stop = null;
// How often something has begun that changes what the page shows of the account.
let turns = 0;

// A call is settled just after its last byte; until then its tokens are held, and neither free nor spent.
async function showSettledAccount() {
  const turn = ++turns;
  for (let tries = 0; tries < 20 && turn === turns; tries++) {
    const me = await account(await currentKey());
    // Something else has begun since, and will show the account.
    if (turn !== turns) return;
    show(me);
    if (me.tokensFree === me.tokensLeft) return;
    await new Promise((later) => setTimeout(later, 250));
  }
}

function show(me) {
  part("who").textContent = person.read() ? `You are signed in as ${me.userId}.` : "You are a visitor.";
  part("balance").textContent = `${me.tokensLeft.toLocaleString("en")} tokens left`;
  part("sign-in").hidden = Boolean(person.read());
  part("sign-out").hidden = !person.read();
}

function addToConversation(who) {
  const item = document.createElement("li");
  item.className = who;
  part("conversation").append(item);
  return item;
}

async function send(question) {
  addToConversation("user").textContent = question;
  const asked = [...messages, { role: "user", content: question }];
  const shown = addToConversation("assistant");
  stop = new AbortController();
  part("stop").disabled = false;
  // A screen reader reads an answer when it is whole.
  part("conversation").ariaBusy = "true";
  let answer = "";
  try {
    for await (const text of chat(await currentKey(), asked, stop.signal)) {
      answer += text;
      shown.textContent = answer;
    }
  } finally {
    // What was answered is part of the conversation, also when it was stopped; a refused question is not.
    if (answer) messages = [...asked, { role: "assistant", content: answer }];
    else shown.remove();
    part("conversation").ariaBusy = "false";
    part("stop").disabled = true;
  }
}

async function finishSignIn() {
  const signedIn = await endSignIn(visitor.read());
  if (!signedIn) return;
  person.keep(signedIn);
  // The visitor's key ended when its balance moved; else it lives on, for who uses this browser next.
  if (signedIn.carriedOver) visitor.forget();
  part("news").textContent = signedIn.carriedOver
    ? `Welcome! ${signedIn.carriedOver.toLocaleString("en")} tokens of your visit were carried over.`
    : "Welcome!";
}

async function signOut() {
  try {
    const key = person.read();
    if (key) await revoke(key, (await account(key)).keyId);
  } finally {
    // Also when the gateway could not be told: whoever asks to be signed out is, on this machine.
    person.forget();
    messages = [];
    part("conversation").replaceChildren();
    part("news").textContent = "You are signed out.";
  }
}

function forgetKey() {
  if (person.read()) person.forget();
  else visitor.forget();
}

// Does something, tells in words what went wrong, and says whether it went well.
async function told(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name === "AbortError") return true;
    if (!(error instanceof Failed)) console.error(error);
    part("problem").textContent = error instanceof Failed ? error.message : "Something went wrong in this page.";
    if (error.isKeyUnknown) forgetKey();
    return false;
  }
}

// One thing at a time; afterwards the page shows what is left.
async function attempt(work) {
  const buttons = ["send", "sign-in", "sign-out"].map(part);
  turns++;
  part("problem").textContent = "";
  for (const button of buttons) button.disabled = true;
  await told(work);
  for (const button of buttons) button.disabled = false;
  // Once more where the key turned out to be unknown, and was forgotten: as a new visitor then.
  if (!(await told(showSettledAccount)) && !person.read() && !visitor.read()) await told(showSettledAccount);
}

part("question-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = part("question").value.trim();
  if (!question || part("send").disabled) return;
  part("question").value = "";
  attempt(() => send(question));
});
part("stop").addEventListener("click", () => stop?.abort());
part("sign-in").addEventListener("click", () => told(beginSignIn));
part("sign-out").addEventListener("click", () => attempt(signOut));
attempt(finishSignIn);
