//! A row of the routing table: one [`Operation`] with its types, as `table.rs` lists them.
//!
//! A row is all that the router and the OpenAPI document know of a route. Everything here is constant data; a
//! schema is made only when the document is.

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// A local route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalRoute {
    Root,
    Health,
    Ready,
    OpenApi,
    Docs,
    Tenants,
    TenantCreate,
    TenantRead,
    TenantReplace,
    TenantDelete,
    TenantTokens,
    OperatorAudit,
    TenantSeal,
    TenantRoot,
    Anonymous,
    Sessions,
    /// Sign-in with an ID token.
    SignIn(Issuer),
    /// Beginning of a sign-in in the browser.
    SignInStart(Issuer),
    /// Way back from the issuer.
    SignInCallback(Issuer),
    RedeemCode,
    Me,
    MeDelete,
    Export,
    OwnUsage,
    OwnKeys,
    OwnKeyMake,
    OwnKeyRoll,
    OwnKeyRevoke,
    Plans,
    Checkout,
    Portal,
    StripeWebhook,
    PaymentEvents,
    UserPayments,
    ConfigHistory,
    ConfigVersion,
    ConfigRestore,
    Audit,
    Tokens,
    TokenMake,
    TokenRemove,
    Config,
    ConfigReplace,
    Usage,
    UserDelete,
    UserExport,
    Keys,
    KeyMint,
    KeyRoll,
    KeySuspend,
    Users,
    UserShow,
    UserCredit,
    UserDebit,
    UserSuspend,
    KeyShow,
    KeyMove,
    KeyRevoke,
    KeyCredit,
    KeyDebit,
    KeyLedger,
    UserLedger,
}

impl LocalRoute {
    /// Whether this is a health check: load balancers send these with any `Host`, so host names are not
    /// checked.
    pub fn is_probe(self) -> bool {
        matches!(self, LocalRoute::Health | LocalRoute::Ready)
    }
}

/// Issuer in the path of a sign-in. That of `Oidc` is named by the path's parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    Google,
    Apple,
    Oidc,
}

/// Credential that a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Anyone,
    /// An end user's key.
    Key,
    /// An admin's token of the tenant, or the operator's.
    Admin,
    /// The operator's token.
    Operator,
}

/// Schema of a type, not made yet.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Returns a reference to the schema of `T`, and adds it to the document.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Body of an answer.
#[derive(Clone, Copy)]
pub(super) enum Content {
    None,
    Json(SchemaOf),
    /// A JSON object of no schema of ours.
    AnyJson,
    /// JSON, or a table where the query asks for one.
    JsonOrCsv(SchemaOf),
    /// A page for a browser.
    Html,
    /// One of two shapes.
    Either(SchemaOf, SchemaOf),
}

/// An answer of a route: a status, what it means, headers by their names in the document, and its body.
#[derive(Clone, Copy)]
pub(super) struct AnswerRow {
    pub status: u16,
    pub about: &'static str,
    pub headers: &'static [&'static str],
    pub content: Content,
    /// Name of the component that it is in the document, where routes share it.
    pub component: Option<&'static str>,
}

impl AnswerRow {
    pub const fn bare(status: u16, about: &'static str) -> AnswerRow {
        AnswerRow {
            status,
            about,
            headers: &[],
            content: Content::None,
            component: None,
        }
    }

    pub const fn json<T: JsonSchema>(status: u16, about: &'static str) -> AnswerRow {
        AnswerRow {
            content: Content::Json(schema_of::<T>),
            ..AnswerRow::bare(status, about)
        }
    }

    pub const fn with(self, headers: &'static [&'static str]) -> AnswerRow {
        AnswerRow { headers, ..self }
    }

    pub const fn shared(self, component: &'static str) -> AnswerRow {
        AnswerRow {
            component: Some(component),
            ..self
        }
    }
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Body of a request.
#[derive(Clone, Copy)]
pub(super) struct RequestBody {
    pub required: bool,
    pub schema: SchemaOf,
    pub media_type: &'static str,
}

/// One method of one path.
#[derive(Clone, Copy)]
pub struct Operation {
    pub(super) route: LocalRoute,
    pub(super) method: &'static str,
    /// Whether `HEAD` is served as `GET` without the body.
    pub(super) serves_head: bool,
    /// Path with its parameters in braces; of a tenant's route the part below `/{tenant}`.
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// Whether pages of other origins may call it (CORS). Never for admins or backends.
    pub(super) allows_cors: bool,
    /// `operationId`, which names the function in generated clients.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    /// Type whose fields are the parameters in the query.
    pub(super) query: Option<SchemaOf>,
    /// Whether `If-Match` is honoured.
    pub(super) if_match: bool,
    pub(super) body: Option<RequestBody>,
    pub(super) replies: &'static [AnswerRow],
}

impl Operation {
    pub(super) const fn new(
        method: &'static str,
        path: &'static str,
        access: Access,
        route: LocalRoute,
    ) -> Operation {
        Operation {
            route,
            method,
            serves_head: false,
            path,
            access,
            allows_cors: false,
            id: "",
            summary: "",
            about: "",
            query: None,
            if_match: false,
            body: None,
            replies: &[],
        }
    }

    /// Methods that the route serves, as `Allow` lists them.
    pub(super) fn methods(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.method).chain(self.serves_head.then_some("HEAD"))
    }

    pub(super) fn serves(&self, method: &Method) -> bool {
        self.methods().any(|served| served == method.as_str())
    }

    pub(super) const fn named(self, id: &'static str, summary: &'static str) -> Operation {
        Operation {
            id,
            summary,
            ..self
        }
    }

    pub(super) const fn about(self, about: &'static str) -> Operation {
        Operation { about, ..self }
    }

    pub(super) const fn with_head(self) -> Operation {
        Operation {
            serves_head: true,
            ..self
        }
    }

    pub(super) const fn with_cors(self) -> Operation {
        Operation {
            allows_cors: true,
            ..self
        }
    }

    pub(super) const fn with_if_match(self) -> Operation {
        Operation {
            if_match: true,
            ..self
        }
    }

    pub(super) const fn query<T: JsonSchema>(self) -> Operation {
        Operation {
            query: Some(schema_of::<T>),
            ..self
        }
    }

    pub(super) const fn takes<T: JsonSchema>(self) -> Operation {
        self.body(true, schema_of::<T>, JSON)
    }

    pub(super) const fn takes_form<T: JsonSchema>(self) -> Operation {
        self.body(true, schema_of::<T>, FORM)
    }

    pub(super) const fn may_take<T: JsonSchema>(self) -> Operation {
        self.body(false, schema_of::<T>, JSON)
    }

    const fn body(self, required: bool, schema: SchemaOf, media_type: &'static str) -> Operation {
        Operation {
            body: Some(RequestBody {
                required,
                schema,
                media_type,
            }),
            ..self
        }
    }

    pub(super) const fn answers(self, replies: &'static [AnswerRow]) -> Operation {
        Operation { replies, ..self }
    }
}
