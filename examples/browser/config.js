// Where the page's gateway is, and how people sign in. The address also stands in index.html, at `connect-src`.
//
// This is a file and no query of the page's address: whoever could change it by a link would get the visitors' keys.
export const config = {
  gateway: "http://localhost:3000",
  tenant: "app",
  // A way in of the tenant's config: `google`, `apple`, or `oidc/` and the name of an entry of `auth.oidc`.
  signIn: "oidc/login",
  // No longer answer is asked for, and no more is held of the balance while one is written.
  maxTokens: 300,
};
