//! Table of every local route: method, path, credential, types and answers. The router and the OpenAPI document
//! are made from it.

use super::operation::{
    Access, AnswerRow, Content, Issuer, LocalRoute as Route, Operation, schema_of,
};
use crate::api;

const NO_TENANT: AnswerRow =
    AnswerRow::json::<api::Error>(400, "There is no such tenant, or the ID cannot be one.")
        .shared("InvalidTenant");
const BAD_REQUEST: AnswerRow = AnswerRow::json::<api::Error>(
    400,
    "There is no such tenant, or the body or query cannot be read or asks for what cannot be.",
)
.shared("BadRequest");
const BAD_QUERY: AnswerRow =
    AnswerRow::json::<api::Error>(400, "The query cannot be read.").shared("BadQuery");
const CONFIG_REFUSED: AnswerRow = AnswerRow {
    content: Content::Either(schema_of::<api::InvalidConfig>, schema_of::<api::Error>),
    ..AnswerRow::bare(
        400,
        "The config has faults (all are listed), or the body cannot be read, or the ID cannot be a tenant's.",
    )
}
.shared("ConfigRefused");
const UNAUTHORIZED: AnswerRow =
    AnswerRow::json::<api::Error>(401, "The credential is missing or wrong.")
        .with(&["WWW-Authenticate"])
        .shared("Unauthorized");
const NO_KEY: AnswerRow =
    AnswerRow::json::<api::Error>(404, "This tenant has no such key.").shared("NoSuchKey");
const NO_USER: AnswerRow =
    AnswerRow::json::<api::Error>(404, "This tenant has no such person.").shared("NoSuchUser");
const NO_GROUP: AnswerRow =
    AnswerRow::json::<api::Error>(403, "The tenant has no group for these people.")
        .shared("NoGroup");
const MANAGES_NOTHING: AnswerRow = AnswerRow::json::<api::Error>(
    403,
    "The key manages no account: it is a session's, it has bounds of its own, or it is its own account.",
)
.shared("ManagesNothing");
const BUYS_NOTHING: AnswerRow = AnswerRow::json::<api::Error>(
    403,
    "The key manages no account, or a payment of its account is in dispute, or the tenant's payments are not set up.",
)
.shared("BuysNothing");
const TOO_OFTEN: AnswerRow = AnswerRow::json::<api::Error>(
    429,
    "The account was too often on its way to Stripe within the hour, or too many wrong keys came from this address.",
)
.with(&["Retry-After"])
.shared("TooOftenAtStripe");
const NO_PAYMENTS: AnswerRow =
    AnswerRow::json::<api::Error>(404, "The tenant takes no payments.").shared("NoPayments");
const BILLING_REFUSED: AnswerRow =
    AnswerRow::json::<api::Error>(502, "Stripe refuses this, and says why.")
        .shared("BillingRefused");
const BILLING_UNAVAILABLE: AnswerRow = AnswerRow::json::<api::Error>(
    503,
    "Stripe or the store does not answer, Stripe does not take the tenant's key, the tenant's config cannot be used, or \
     the gateway has more to do than it can.",
)
.with(&["Retry-After"])
.shared("BillingUnavailable");
const OUT_OF_SCOPE: AnswerRow = AnswerRow::json::<api::Error>(
    403,
    "The admin token is the tenant's and not of the scope that this needs.",
)
.shared("OutOfScope");
const NO_VERSION: AnswerRow =
    AnswerRow::json::<api::Error>(404, "No config of this number is kept.").shared("NoSuchVersion");
const ABOUT_USER: &str = "`user` is the name of the account, `p_…`, its `id` as usage records have it, or the app's own ID of \
                          the user, percent-encoded.";
const ABOUT_KEY: &str = "`key` is the key's `id`, or the key itself.";
const UNKNOWN_TENANT: AnswerRow =
    AnswerRow::json::<api::Error>(404, "There is no such tenant.").shared("NoSuchTenant");
const CHANGED: AnswerRow = AnswerRow::json::<api::Error>(
    412,
    "The config is no longer the one that `If-Match` names, or changed meanwhile. Read it again.",
)
.shared("ConfigChanged");
const TOO_LARGE: AnswerRow =
    AnswerRow::json::<api::Error>(413, "The body is larger than 1 MiB.").shared("TooLarge");
const WRONG_TOKENS: AnswerRow =
    AnswerRow::json::<api::Error>(429, "Too many wrong keys or tokens came from this address.")
        .with(&["Retry-After"])
        .shared("TooManyWrongTokens");
const UNAVAILABLE: AnswerRow = AnswerRow::json::<api::Error>(
    503,
    "The store does not answer, the tenant's config cannot be used, or the gateway has more to do than it can.",
)
.with(&["Retry-After"])
.shared("Unavailable");

const fn get(path: &'static str, access: Access, route: Route) -> Operation {
    Operation::new("GET", path, access, route)
}

const fn post(path: &'static str, access: Access, route: Route) -> Operation {
    Operation::new("POST", path, access, route)
}

const fn put(path: &'static str, access: Access, route: Route) -> Operation {
    Operation::new("PUT", path, access, route)
}

const fn patch(path: &'static str, access: Access, route: Route) -> Operation {
    Operation::new("PATCH", path, access, route)
}

const fn delete(path: &'static str, access: Access, route: Route) -> Operation {
    Operation::new("DELETE", path, access, route)
}

const SIGN_IN_REFUSED: AnswerRow = AnswerRow::json::<api::Error>(
    401,
    "The token, the code or its verifier is wrong or has ended. Which, only the gateway's log says.",
)
.with(&["WWW-Authenticate"])
.shared("SignInRefused");
const SIGN_IN_FORBIDDEN: AnswerRow = AnswerRow::json::<api::Error>(
    403,
    "The tenant does not have the group that these people belong to, or the request comes from a web page (`Origin`) \
     of another host that is not in the tenant's `cors.origins`.",
)
.shared("SignInForbidden");
const NO_SIGN_IN: AnswerRow =
    AnswerRow::json::<api::Error>(404, "The tenant has no such sign-in.").shared("NoSuchSignIn");
const SIGN_IN_UNAVAILABLE: AnswerRow = AnswerRow::json::<api::Error>(
    503,
    "The issuer or the store does not answer, the tenant's config cannot be used, or the gateway has more to do than \
     it can.",
)
.with(&["Retry-After"])
.shared("SignInUnavailable");

static SIGNED_IN: &[AnswerRow] = &[
    AnswerRow::json::<api::SignedIn>(200, "A new key of the person's account."),
    BAD_REQUEST,
    SIGN_IN_REFUSED,
    SIGN_IN_FORBIDDEN,
    NO_SIGN_IN,
    TOO_LARGE,
    WRONG_TOKENS,
    SIGN_IN_UNAVAILABLE,
];
static STARTED: &[AnswerRow] = &[
    AnswerRow::bare(302, "The browser goes to the issuer.").with(&["Location", "Set-Cookie"]),
    BAD_REQUEST,
    SIGN_IN_FORBIDDEN,
    NO_SIGN_IN,
    AnswerRow::json::<api::Error>(429, "This address has begun too many sign-ins.")
        .with(&["Retry-After"]),
    SIGN_IN_UNAVAILABLE,
];
static CAME_BACK: &[AnswerRow] = &[
    AnswerRow::bare(
        303,
        "The browser goes to the app, with `code` or `error`, and with the app's `state`.",
    )
    .with(&["Location", "Set-Cookie"]),
    BAD_REQUEST,
    NO_SIGN_IN,
    TOO_LARGE,
    UNAVAILABLE,
];

const fn sign_in(
    path: &'static str,
    issuer: Issuer,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    post(path, Access::Anyone, Route::SignIn(issuer))
        .with_cors()
        .named(id, summary)
        .about(
            "The key of an anonymous account may be sent as `Authorization: Bearer`. Each sign-in gives a key of its \
             own; the account is the same each time.",
        )
        .takes::<api::SignIn>()
        .answers(SIGNED_IN)
}

const fn start(
    path: &'static str,
    issuer: Issuer,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    get(path, Access::Anyone, Route::SignInStart(issuer))
        .named(id, summary)
        .about("The browser is sent here, with a PKCE challenge of the app. It ends at `redirect_uri`.")
        .query::<api::StartQuery>()
        .answers(STARTED)
}

const fn callback(
    path: &'static str,
    issuer: Issuer,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    get(path, Access::Anyone, Route::SignInCallback(issuer))
        .named(id, summary)
        .about("The issuer sends the browser here. Register this address with it.")
        .query::<api::CallbackQuery>()
        .answers(CAME_BACK)
}

const fn callback_form(
    path: &'static str,
    issuer: Issuer,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    post(path, Access::Anyone, Route::SignInCallback(issuer))
        .named(id, summary)
        .about("Apple comes back in this way (`form_post`).")
        .takes_form::<api::CallbackQuery>()
        .answers(CAME_BACK)
}

/// Routes without a tenant. Rows of one path stand together.
pub(super) static GLOBAL: &[Operation] = &[
    get("/", Access::Anyone, Route::Root)
        .with_head()
        .named("root", "Say who answers here")
        .answers(&[AnswerRow::json::<api::Root>(
            200,
            "The service's name, as the operator set it.",
        )]),
    get("/healthz", Access::Anyone, Route::Health)
        .with_head()
        .named("healthz", "Is the process alive?")
        .answers(&[AnswerRow::json::<api::Alive>(200, "It is.")]),
    get("/readyz", Access::Anyone, Route::Ready)
        .with_head()
        .named("readyz", "May traffic be sent here?")
        .answers(&[
            AnswerRow::json::<api::Ready>(
                200,
                "The store answers and the gateway is not shutting down.",
            ),
            AnswerRow::json::<api::Error>(503, "Not now.").with(&["Retry-After"]),
        ]),
    get("/openapi.json", Access::Anyone, Route::OpenApi)
        .with_head()
        .named("openapi", "This document")
        .answers(&[AnswerRow {
            content: Content::AnyJson,
            ..AnswerRow::bare(200, "OpenAPI 3.1.")
        }]),
    get("/docs", Access::Anyone, Route::Docs)
        .with_head()
        .named("docs", "This document as a page")
        .about("For a browser. The page reads `openapi.json` beside it, and tries each operation out.")
        .answers(&[AnswerRow {
            content: Content::Html,
            ..AnswerRow::bare(200, "The page, without parts from elsewhere.")
        }]),
    get("/admin/audit", Access::Operator, Route::OperatorAudit)
        .named("listOperatorChanges", "See what the operator changed")
        .query::<api::AuditQuery>()
        .answers(&[
            AnswerRow::json::<api::AuditRecords>(
                200,
                "Changes of tenants, configs and admin tokens that were made with the operator's token, the latest first.",
            ),
            BAD_QUERY,
            UNAUTHORIZED,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/tenants", Access::Operator, Route::Tenants)
        .named("listTenants", "List the tenants")
        .query::<api::TenantsQuery>()
        .answers(&[
            AnswerRow::json::<api::Tenants>(200, "The IDs of all tenants that have a config."),
            BAD_QUERY,
            UNAUTHORIZED,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/tenants", Access::Operator, Route::TenantCreate)
        .named("createTenant", "Create a tenant")
        .takes::<api::NewTenant>()
        .answers(&[
            AnswerRow::json::<api::TenantCreated>(201, "Created."),
            CONFIG_REFUSED,
            UNAUTHORIZED,
            AnswerRow::json::<api::Error>(409, "There is a tenant of that ID already."),
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/tenants/{tenant}", Access::Operator, Route::TenantRead)
        .named("readTenant", "Read a tenant's config")
        .query::<api::ConfigQuery>()
        .answers(&[
            AnswerRow::json::<api::Config>(200, "Exactly what was stored, or with masks in place of secrets.").with(&["ETag"]),
            BAD_REQUEST,
            UNAUTHORIZED,
            UNKNOWN_TENANT,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    put("/admin/tenants/{tenant}", Access::Operator, Route::TenantReplace)
        .named("putTenant", "Create a tenant or replace its config")
        .with_if_match()
        .takes::<api::Config>()
        .answers(&[
            AnswerRow::json::<api::ConfigStored>(200, "Replaced.").with(&["ETag"]),
            AnswerRow::json::<api::ConfigStored>(201, "Created.").with(&["ETag"]),
            CONFIG_REFUSED,
            UNAUTHORIZED,
            CHANGED,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    delete("/admin/tenants/{tenant}", Access::Operator, Route::TenantDelete)
        .named("deleteTenant", "Delete a tenant")
        .answers(&[
            AnswerRow::json::<api::Success>(200, "Its config and its own admin tokens are gone."),
            NO_TENANT,
            UNAUTHORIZED,
            UNKNOWN_TENANT,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/tenants/{tenant}/seal", Access::Operator, Route::TenantSeal)
        .named("sealTenant", "Seal a tenant's secrets with the present key")
        .about(
            "Those that are readable in the store, and those that one of `secrets.old_keys` has sealed. When all \
             tenants are through, the old key can go.",
        )
        .answers(&[
            AnswerRow::json::<api::TenantSealed>(
                200,
                "Every secret of the config is sealed with `secrets.key`.",
            ),
            CONFIG_REFUSED,
            UNAUTHORIZED,
            UNKNOWN_TENANT,
            AnswerRow::json::<api::Error>(409, "`secrets.key` is not set."),
            CHANGED,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    put("/admin/tenants/{tenant}/tokens", Access::Operator, Route::TenantTokens)
        .named("setAdminTokens", "Set a tenant's own admin tokens")
        .about(
            "All of them are replaced; an empty list leaves the operator's token alone. They are stored only as \
             hashes and cannot be read back.",
        )
        .takes::<api::AdminTokens>()
        .answers(&[
            AnswerRow::json::<api::Error>(409, "Two of the tokens have one name, or others change them at the same time."),
            AnswerRow::json::<api::TokensSet>(
                200,
                "These open the tenant from now on, and no others but the operator's.",
            ),
            BAD_REQUEST,
            UNAUTHORIZED,
            UNKNOWN_TENANT,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
];

/// Routes of one tenant, relative to `/{tenant}`. Rows of one path stand together.
pub(super) static OF_TENANT: &[Operation] = &[
    get("/", Access::Anyone, Route::TenantRoot)
        .with_head()
        .with_cors()
        .named("tenant", "Probe a tenant")
        .answers(&[
            AnswerRow::json::<api::Root>(200, "The tenant exists."),
            NO_TENANT,
            UNAVAILABLE,
        ]),
    post("/auth/anonymous", Access::Anyone, Route::Anonymous)
        .with_cors()
        .named("signInAnonymously", "Get a key without signing in")
        .about(
            "No body is needed. The key is what an SDK takes as its API key. It expires, after 24 hours unless the \
             operator set another time.",
        )
        .answers(&[
            AnswerRow::json::<api::NewKey>(
                200,
                "A new key with the balance and the limits of group `anonymous`.",
            ),
            NO_TENANT,
            AnswerRow::json::<api::Error>(
                403,
                "The tenant has no anonymous sign-in, or the request comes from a web page (`Origin`) of another \
                 host that is not in the tenant's `cors.origins`.",
            ),
            AnswerRow::json::<api::Error>(
                429,
                "This address, its network or everyone together has taken as many keys as they may for now.",
            )
            .with(&["Retry-After"]),
            UNAVAILABLE,
        ]),
    post("/auth/sessions", Access::Admin, Route::Sessions)
        .named("openSession", "Get a key for one of the app's users")
        .about(
            "For an app with a log-in of its own: its backend asks, with an admin token or one of scope `sessions`, and \
             hands the key to the user. The same `userId` is the same account, which begins with its group's tokens.",
        )
        .takes::<api::Session>()
        .answers(&[
            AnswerRow::json::<api::SessionKey>(200, "A key of the user's account. It is shown only here."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_GROUP,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/auth/usage", Access::Key, Route::OwnUsage)
        .with_cors()
        .named("ownUsage", "See what a key's account has used")
        .query::<api::OwnUsageQuery>()
        .answers(&[
            AnswerRow::json::<api::OwnUsage>(200, "Sums by day and model."),
            BAD_REQUEST,
            UNAUTHORIZED,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/auth/keys", Access::Key, Route::OwnKeys)
        .with_cors()
        .named("listOwnKeys", "List the keys of an account")
        .about("With a key that may manage its account: one of a sign-in, or one made with it and without bounds.")
        .answers(&[
            AnswerRow::json::<api::OwnKeys>(200, "The keys, without themselves."),
            NO_TENANT,
            UNAUTHORIZED,
            MANAGES_NOTHING,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/auth/keys", Access::Key, Route::OwnKeyMake)
        .with_cors()
        .named("makeOwnKey", "Make another key of an account")
        .may_take::<api::NewOwnKey>()
        .answers(&[
            AnswerRow::json::<api::OwnKey>(201, "The new key. It is shown only here."),
            BAD_REQUEST,
            UNAUTHORIZED,
            MANAGES_NOTHING,
            AnswerRow::json::<api::Error>(409, "The account has as many keys as it may."),
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    delete("/auth/keys/{id}", Access::Key, Route::OwnKeyRevoke)
        .with_cors()
        .named("revokeOwnKey", "Revoke a key of an account")
        .answers(&[
            AnswerRow::json::<api::Success>(200, "The key is unknown from now on."),
            NO_TENANT,
            UNAUTHORIZED,
            MANAGES_NOTHING,
            NO_KEY,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/auth/keys/{id}/roll", Access::Key, Route::OwnKeyRoll)
        .with_cors()
        .named("rollOwnKey", "Replace a key of an account by a new one")
        .about("The new key has the bounds of the old one, less what that has spent. The old one ends at once.")
        .answers(&[
            AnswerRow::json::<api::OwnKey>(201, "The new key. It is shown only here."),
            NO_TENANT,
            UNAUTHORIZED,
            MANAGES_NOTHING,
            NO_KEY,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    sign_in("/auth/google", Issuer::Google, "signInWithGoogle", "Sign in with an ID token of Google"),
    start("/auth/google/start", Issuer::Google, "startSignInWithGoogle", "Begin a sign-in with Google in the browser"),
    callback("/auth/google/callback", Issuer::Google, "endSignInWithGoogle", "Come back from Google"),
    callback_form("/auth/google/callback", Issuer::Google, "postSignInWithGoogle", "Come back from Google with a form"),
    sign_in("/auth/apple", Issuer::Apple, "signInWithApple", "Sign in with an ID token of Apple"),
    start("/auth/apple/start", Issuer::Apple, "startSignInWithApple", "Begin a sign-in with Apple in the browser"),
    callback("/auth/apple/callback", Issuer::Apple, "endSignInWithApple", "Come back from Apple"),
    callback_form("/auth/apple/callback", Issuer::Apple, "postSignInWithApple", "Come back from Apple with a form"),
    sign_in("/auth/oidc/{name}", Issuer::Oidc, "signInWithOidc", "Sign in with an ID token of another issuer"),
    start("/auth/oidc/{name}/start", Issuer::Oidc, "startSignInWithOidc", "Begin a sign-in with another issuer in the browser"),
    callback("/auth/oidc/{name}/callback", Issuer::Oidc, "endSignInWithOidc", "Come back from another issuer"),
    callback_form("/auth/oidc/{name}/callback", Issuer::Oidc, "postSignInWithOidc", "Come back from another issuer with a form"),
    post("/auth/token", Access::Anyone, Route::RedeemCode)
        .with_cors()
        .named("redeemCode", "Get a key for the code of a sign-in")
        .about("The code works for a minute and once, right or wrong.")
        .takes::<api::RedeemCode>()
        .answers(SIGNED_IN),
    get("/auth/me", Access::Key, Route::Me)
        .with_cors()
        .named("me", "See what a key is worth")
        .answers(&[
            AnswerRow::json::<api::Me>(200, "The account of the key that was sent."),
            NO_TENANT,
            UNAUTHORIZED,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    delete("/auth/me", Access::Key, Route::MeDelete)
        .with_cors()
        .named("deleteAccount", "Delete an account")
        .about(
            "The account, its keys and its links to identities end at once; Apple is told. What is left of the balance is \
             lost. Who comes back within `retention.deleted_accounts` does not begin with a group's tokens once more.",
        )
        .answers(&[
            AnswerRow::json::<api::Success>(200, "There is no such account any more."),
            NO_TENANT,
            UNAUTHORIZED,
            MANAGES_NOTHING,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/auth/export", Access::Key, Route::Export)
        .with_cors()
        .named("exportAccount", "Get all that is kept of an account")
        .answers(&[
            AnswerRow::json::<api::Export>(200, "All that is kept of it."),
            NO_TENANT,
            UNAUTHORIZED,
            MANAGES_NOTHING,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/billing/plans", Access::Anyone, Route::Plans)
        .with_cors()
        .named("listPlans", "See what the tenant sells")
        .answers(&[
            AnswerRow::json::<api::Plans>(
                200,
                "Plans and top-ups, with what Stripe says they cost.",
            ),
            NO_TENANT,
            NO_PAYMENTS,
            BILLING_UNAVAILABLE,
        ]),
    post("/billing/checkout", Access::Key, Route::Checkout)
        .with_cors()
        .named("checkOut", "Begin a payment")
        .about(
            "The answer has a page of Stripe's for the person's browser. What is paid there is granted a moment later, \
             when Stripe has told the gateway.",
        )
        .takes::<api::Checkout>()
        .answers(&[
            AnswerRow::json::<api::CheckoutPage>(200, "The page on which the person pays."),
            BAD_REQUEST,
            UNAUTHORIZED,
            BUYS_NOTHING,
            NO_PAYMENTS,
            AnswerRow::json::<api::Error>(
                409,
                "The account has a subscription, which the portal changes, or one is being completed.",
            ),
            TOO_LARGE,
            TOO_OFTEN,
            BILLING_REFUSED,
            BILLING_UNAVAILABLE,
        ]),
    post("/billing/portal", Access::Key, Route::Portal)
        .with_cors()
        .named("openPortal", "Change or end a subscription")
        .about("The answer has the address of Stripe's customer portal for the person's browser.")
        .may_take::<api::PortalCall>()
        .answers(&[
            AnswerRow::json::<api::CheckoutPage>(200, "The portal, for this customer alone."),
            BAD_REQUEST,
            UNAUTHORIZED,
            MANAGES_NOTHING,
            NO_PAYMENTS,
            AnswerRow::json::<api::Error>(409, "The account has bought nothing yet."),
            TOO_LARGE,
            TOO_OFTEN,
            BILLING_REFUSED,
            BILLING_UNAVAILABLE,
        ]),
    post("/billing/stripe", Access::Anyone, Route::StripeWebhook)
        .named("stripeWebhook", "Take an event of Stripe's")
        .about(
            "The webhook's address in Stripe's dashboard. Its signature is checked over the bytes of the body; what does \
             nothing is answered 200 as well, and says why.",
        )
        .takes::<api::StripeEvent>()
        .answers(&[
            AnswerRow::json::<api::WebhookTaken>(200, "Taken; it need not come again."),
            AnswerRow::json::<api::Error>(
                400,
                "There is no such tenant, or the signature is missing, stale or wrong, or the body is no event.",
            ),
            NO_PAYMENTS,
            TOO_LARGE,
            BILLING_UNAVAILABLE,
        ]),
    get("/admin/payments", Access::Admin, Route::PaymentEvents)
        .named("listPaymentEvents", "See what Stripe has told of late")
        .answers(&[
            AnswerRow::json::<api::PaymentEvents>(
                200,
                "The latest events, ignored ones too, with what came of each.",
            ),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/users", Access::Admin, Route::Users)
        .named("listUsers", "List people, newest first")
        .query::<api::ListQuery>()
        .answers(&[
            AnswerRow::json::<api::AdminUsers>(200, "A page of them."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/users/{user}/credit", Access::Admin, Route::UserCredit)
        .named("creditUser", "Add to a person's balance")
        .about("As for a key: with an `id` it is safe to repeat.")
        .takes::<api::Credit>()
        .answers(&[
            AnswerRow::json::<api::Credited>(200, "The balance after it."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/users/{user}/debit", Access::Admin, Route::UserDebit)
        .named("debitUser", "Take from a person's balance")
        .about("As for a key: only what no request in flight holds, and all of it or nothing.")
        .takes::<api::Credit>()
        .answers(&[
            AnswerRow::json::<api::Credited>(200, "The balance after it."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            AnswerRow::json::<api::Error>(409, "Less is free than is to be taken."),
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/users/{user}/suspend", Access::Admin, Route::UserSuspend)
        .named("suspendUser", "Suspend a person's account, or take its calls again")
        .about(ABOUT_USER)
        .takes::<api::Suspend>()
        .answers(&[
            AnswerRow::json::<api::Suspended>(200, "Done, on every instance within a second."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/users/{user}/ledger", Access::Admin, Route::UserLedger)
        .named("readUserLedger", "See every change of a person's balance")
        .about(ABOUT_USER)
        .query::<api::LedgerQuery>()
        .answers(&[
            AnswerRow::json::<api::AccountLedger>(200, "The latest changes, and sums of older ones."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/users/{user}/payments", Access::Admin, Route::UserPayments)
        .named("listUserPayments", "See what a person has paid")
        .about(ABOUT_USER)
        .answers(&[
            AnswerRow::json::<api::AccountPayments>(
                200,
                "All payments of the account, with what each grants and why.",
            ),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/users/{user}", Access::Admin, Route::UserShow)
        .named("showUser", "Show a person with keys, holds, payments and the latest requests")
        .about(ABOUT_USER)
        .answers(&[
            AnswerRow::json::<api::UserDetails>(200, "The person as they stand now."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    delete("/admin/users/{user}", Access::Admin, Route::UserDelete)
        .named("deleteUser", "Delete a person's account")
        .about(ABOUT_USER)
        .answers(&[
            AnswerRow::json::<api::Success>(200, "There is no such account any more."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/users/{user}/export", Access::Admin, Route::UserExport)
        .named("exportUser", "Get all that is kept of a person")
        .about(ABOUT_USER)
        .answers(&[
            AnswerRow::json::<api::Export>(200, "All that is kept of it."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_USER,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/tokens", Access::Admin, Route::Tokens)
        .named("listTokens", "List the tenant's own admin tokens")
        .about("Names and scopes; the tokens themselves are not kept. Needs scope `admin`.")
        .answers(&[
            AnswerRow::json::<api::TokenList>(200, "All of them."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/tokens", Access::Admin, Route::TokenMake)
        .named("makeToken", "Make an admin token of the tenant")
        .about("The token is drawn by the gateway and shown once. Needs scope `admin`.")
        .takes::<api::NewToken>()
        .answers(&[
            AnswerRow::json::<api::MadeToken>(201, "The token."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            AnswerRow::json::<api::Error>(
                409,
                "There is a token of this name, or others change the tokens at the same time.",
            ),
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    delete("/admin/tokens/{token}", Access::Admin, Route::TokenRemove)
        .named("deleteToken", "Delete an admin token of the tenant")
        .about("It opens nothing from the next request on. Needs scope `admin`.")
        .answers(&[
            AnswerRow::json::<api::Success>(200, "There is no such token any more."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            AnswerRow::json::<api::Error>(404, "The tenant has no token of this name."),
            AnswerRow::json::<api::Error>(409, "Others change the tokens at the same time."),
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/config", Access::Admin, Route::Config)
        .named("readConfig", "Read the tenant's config")
        .about("A token of scope `support` or `read` always sees masks in place of secrets.")
        .query::<api::ConfigQuery>()
        .answers(&[
            AnswerRow::json::<api::Config>(200, "Exactly what was stored, or with masks in place of secrets.").with(&["ETag"]),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    put("/admin/config", Access::Admin, Route::ConfigReplace)
        .named("replaceConfig", "Replace the tenant's config")
        .about(
            "The whole config is replaced, and the one before is kept. Send the `ETag` of the one that was read as \
             `If-Match`, so that nobody's change is lost. A mask or a sealed text is taken only where scheme, host and \
             port that it is sent to are those that it was stored with.",
        )
        .with_if_match()
        .takes::<api::Config>()
        .answers(&[
            AnswerRow::json::<api::ConfigStored>(200, "Stored, and in force on every instance within a second.")
                .with(&["ETag"]),
            CONFIG_REFUSED,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            CHANGED,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/config/history", Access::Admin, Route::ConfigHistory)
        .named("listConfigs", "List the configs that were replaced")
        .answers(&[
            AnswerRow::json::<api::ConfigHistory>(200, "The latest first."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/config/history/{version}", Access::Admin, Route::ConfigVersion)
        .named("showConfig", "Show a config that was replaced")
        .answers(&[
            AnswerRow::json::<api::ConfigVersion>(200, "The config, with masks in place of secrets."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_VERSION,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/config/history/{version}/restore", Access::Admin, Route::ConfigRestore)
        .named("restoreConfig", "Put a config back that was replaced")
        .with_if_match()
        .answers(&[
            AnswerRow::json::<api::ConfigStored>(200, "Stored, and in force on every instance within a second.")
                .with(&["ETag"]),
            CONFIG_REFUSED,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_VERSION,
            CHANGED,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/audit", Access::Admin, Route::Audit)
        .named("listChanges", "See who changed what")
        .query::<api::AuditQuery>()
        .answers(&[
            AnswerRow::json::<api::AuditRecords>(200, "Changes over admin routes, the latest first."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/usage", Access::Admin, Route::Usage)
        .named("showUsage", "What the tenant's accounts have used")
        .about(
            "`format=csv` answers a table with a line for each combination of what `by` names. A cell that a spreadsheet \
             could take for a formula begins with `'`. Where older requests of the time asked for are missing, JSON has \
             `incomplete`, and a table is refused (400).",
        )
        .query::<api::UsageQuery>()
        .answers(&[
            AnswerRow {
                content: Content::JsonOrCsv(schema_of::<api::UsageReport>),
                ..AnswerRow::bare(
                    200,
                    "Sums by day, model, account, key, group and endpoint, and the latest requests, newest first; or a table.",
                )
            }
            .with(&["Content-Disposition"]),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/keys", Access::Admin, Route::Keys)
        .named("listKeys", "List keys, newest first")
        .query::<api::ListQuery>()
        .answers(&[
            AnswerRow::json::<api::AdminKeys>(200, "A page of them."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/keys", Access::Admin, Route::KeyMint)
        .named("mintKey", "Mint a key")
        .may_take::<api::Mint>()
        .answers(&[
            AnswerRow::json::<api::MintedKey>(201, "The new key. It is shown only here."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            AnswerRow::json::<api::Error>(
                409,
                "There is an account of this user already (`accounts.layout: user`).",
            ),
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/keys/{key}", Access::Admin, Route::KeyShow)
        .named("showKey", "Show a key's account")
        .about(ABOUT_KEY)
        .answers(&[
            AnswerRow::json::<api::Account>(200, "The account as it stands now."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    patch("/admin/keys/{key}", Access::Admin, Route::KeyMove)
        .named("moveKey", "Change group, user, expiry and tokens of a key in one step")
        .about(
            "So a trial becomes a member. A change of the group alone leaves the balance as it is. With an `id` the tokens are \
             added once; after a 503 that names an id, repeat it with that.",
        )
        .takes::<api::Move>()
        .answers(&[
            AnswerRow::json::<api::Moved>(200, "Changed."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    delete("/admin/keys/{key}", Access::Admin, Route::KeyRevoke)
        .named("revokeKey", "Revoke a key")
        .answers(&[
            AnswerRow::json::<api::Success>(200, "The key is unknown from now on."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/keys/{key}/roll", Access::Admin, Route::KeyRoll)
        .named("rollKey", "Replace a key by a new one")
        .about("The account stays, with its balance and its ledger. The old key is unknown from then on.")
        .answers(&[
            AnswerRow::json::<api::RolledKey>(201, "The new key. It is shown only here."),
            NO_TENANT,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            AnswerRow::json::<api::Error>(409, "The account has too many keys, or others change it at the same time."),
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/keys/{key}/suspend", Access::Admin, Route::KeySuspend)
        .named("suspendKey", "Suspend a key's account, or take its calls again")
        .about("Of a person's key it is the account: all of its keys are refused.")
        .takes::<api::Suspend>()
        .answers(&[
            AnswerRow::json::<api::Suspended>(200, "Done, on every instance within a second."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    get("/admin/keys/{key}/ledger", Access::Admin, Route::KeyLedger)
        .named("readKeyLedger", "See every change of a key's balance")
        .about("Of a person's key it is the ledger of the account.")
        .query::<api::LedgerQuery>()
        .answers(&[
            AnswerRow::json::<api::AccountLedger>(200, "The latest changes, and sums of older ones."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/keys/{key}/debit", Access::Admin, Route::KeyDebit)
        .named("debitKey", "Take from a key's balance")
        .about(
            "Only what no request in flight holds is taken, and all of it or nothing. With an `id` it is safe to repeat, \
             as a credit is.",
        )
        .takes::<api::Credit>()
        .answers(&[
            AnswerRow::json::<api::Credited>(200, "The balance after it."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            AnswerRow::json::<api::Error>(409, "Less is free than is to be taken."),
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
    post("/admin/keys/{key}/credit", Access::Admin, Route::KeyCredit)
        .named("creditKey", "Add to a key's balance")
        .about(
            "With an `id` it is safe to repeat: the same credit is applied once. After a 503 that names an id it may \
             be there or not, or may yet be lost: repeat it with that id.",
        )
        .takes::<api::Credit>()
        .answers(&[
            AnswerRow::json::<api::Credited>(200, "The balance after it."),
            BAD_REQUEST,
            UNAUTHORIZED,
            OUT_OF_SCOPE,
            NO_KEY,
            TOO_LARGE,
            WRONG_TOKENS,
            UNAVAILABLE,
        ]),
];
