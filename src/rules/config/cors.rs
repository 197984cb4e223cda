//! CORS: the web origins whose pages may read the answers of a tenant's routes (`cors.origins`).

use crate::rules::origin::WebOrigin;
use crate::tables::{ValueType, list, parsed, table};
use serde_json::json;

table! {
    /// Web pages that may call the tenant.
    pub struct Cors unknown Kept {
        /// Exact origins, as browsers write them; `*` stands for any.
        origins: Vec<AllowedOrigin> = list(origin(), 0).default("[]").shown("[https://app.example, http://localhost:5173]");
    }
}

/// One entry of `cors.origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    Any,
    Exact(WebOrigin),
}

impl Cors {
    pub fn is_any(&self) -> bool {
        self.origins.contains(&AllowedOrigin::Any)
    }

    /// Whether an entry is this very origin. `*` names none.
    pub fn names(&self, origin: &WebOrigin) -> bool {
        self.origins.contains(&AllowedOrigin::Exact(origin.clone()))
    }

    /// Returns the first entry that is an origin.
    pub fn first_named(&self) -> Option<&WebOrigin> {
        self.origins.iter().find_map(|allowed| match allowed {
            AllowedOrigin::Exact(origin) => Some(origin),
            AllowedOrigin::Any => None,
        })
    }

    pub fn allows(&self, origin: &WebOrigin) -> bool {
        let mut origins = self.origins.iter();
        origins.any(|allowed| match allowed {
            AllowedOrigin::Any => true,
            AllowedOrigin::Exact(allowed) => allowed == origin,
        })
    }
}

const RULE: &str = "expected an origin such as https://app.example or http://localhost:5173, without a path, \
    or * for any";

fn origin() -> ValueType<AllowedOrigin> {
    let pattern = "^(\\*|[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._:\\[\\]-]+)$";
    parsed(json!({"type": "string", "pattern": pattern}), |text| {
        let exact = || WebOrigin::parse(text).map(AllowedOrigin::Exact);
        let any = (text == "*").then_some(AllowedOrigin::Any);
        any.or_else(exact).ok_or_else(|| RULE.to_owned())
    })
}
