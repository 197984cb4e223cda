// Sign-in by the code flow with PKCE: to the gateway, to the issuer, and back to this page with a code.
import { Failed, redeem, signInAddress } from "./gateway.js";

// In the storage of this tab, where a sign-in that is under way is remembered.
const UNDER_WAY = "sign-in";

// Where the browser comes back to: the folder of this page, as `redirect_uris` of the tenant has it, to the letter.
const home = new URL(".", location.href);
home.search = home.hash = "";

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

// Leaves the page.
export async function beginSignIn() {
  const [verifier, state] = [random(), random()];
  sessionStorage.setItem(UNDER_WAY, JSON.stringify({ verifier, state }));
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const query = new URLSearchParams({
    redirect_uri: home.href,
    code_challenge: base64url(new Uint8Array(hash)),
    code_challenge_method: "S256",
    state,
  });
  location.assign(signInAddress(query));
}

// The key of a sign-in that comes back with this address; null where the address is of none.
export async function endSignIn(visitorKey) {
  const given = new URLSearchParams(location.search);
  if (!given.has("code") && !given.has("error")) return null;
  // First of all nothing stays in the address bar, the history or a bookmark.
  history.replaceState(null, "", location.pathname);

  // Good for one return. A link that somebody made of a sign-in of their own has another state, or finds none here.
  const { verifier, state } = JSON.parse(sessionStorage.getItem(UNDER_WAY) ?? "{}");
  sessionStorage.removeItem(UNDER_WAY);
  if (!state || given.get("state") !== state) throw new Failed("This sign-in was not begun here.");
  if (given.has("error")) throw new Failed("You were not signed in.");
  return redeem(given.get("code"), verifier, visitorKey);
}
