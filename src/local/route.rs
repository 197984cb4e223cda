//! Routing table of the local routes: maps a method and a path to a [`LocalRoute`] route.

use http::Method;

/// A local route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalRoute {
    Root,
    Health,
    Ready,
    OpenApi,
    Tenants,
    TenantCreate,
    TenantRead,
    TenantReplace,
    TenantDelete,
    TenantTokens,
    TenantSeal,
    TenantRoot,
    Anonymous,
    Me,
    Config,
    ConfigReplace,
    Usage,
    KeyMint,
    KeyShow,
    KeyMove,
    KeyRevoke,
    KeyCredit,
}

impl LocalRoute {
    /// Whether this is a health check: load balancers send these with any `Host`, so host names are not
    /// checked.
    pub fn is_probe(self) -> bool {
        matches!(self, LocalRoute::Health | LocalRoute::Ready)
    }
}

impl LocalRoute {
    /// Returns the route's path pattern, and whether it is below a tenant.
    pub fn pattern(self) -> (bool, &'static str) {
        let is_row = |(_, methods): &&Row| methods.iter().any(|(_, route)| *route == self);
        match (GLOBAL.iter().find(is_row), OF_TENANT.iter().find(is_row)) {
            (Some((pattern, _)), _) => (false, pattern),
            (None, Some((pattern, _))) => (true, pattern),
            (None, None) => (false, ""),
        }
    }
}

/// A matched route, and the values of its path parameters (`{}`).
#[derive(Clone, PartialEq, Eq)]
pub struct Matched<'a> {
    pub route: LocalRoute,
    pub parts: Vec<&'a str>,
}

/// Written by hand because a path parameter may be an API key.
impl std::fmt::Debug for Matched<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} with {} parameters", self.route, self.parts.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// Method and path match.
    Here(Matched<'a>),
    /// The path matches, but not the method (405); holds the value of `Allow`.
    MethodNotAllowed(String),
    Nothing,
}

/// A path pattern, and the route of each method.
type Row = (&'static str, &'static [(Method, LocalRoute)]);

/// Global routes.
const GLOBAL: &[Row] = &[
    (
        "/",
        &[
            (Method::GET, LocalRoute::Root),
            (Method::HEAD, LocalRoute::Root),
        ],
    ),
    (
        "/healthz",
        &[
            (Method::GET, LocalRoute::Health),
            (Method::HEAD, LocalRoute::Health),
        ],
    ),
    (
        "/readyz",
        &[
            (Method::GET, LocalRoute::Ready),
            (Method::HEAD, LocalRoute::Ready),
        ],
    ),
    (
        "/openapi.json",
        &[
            (Method::GET, LocalRoute::OpenApi),
            (Method::HEAD, LocalRoute::OpenApi),
        ],
    ),
    (
        "/admin/tenants",
        &[
            (Method::GET, LocalRoute::Tenants),
            (Method::POST, LocalRoute::TenantCreate),
        ],
    ),
    (
        "/admin/tenants/{}",
        &[
            (Method::GET, LocalRoute::TenantRead),
            (Method::PUT, LocalRoute::TenantReplace),
            (Method::DELETE, LocalRoute::TenantDelete),
        ],
    ),
    (
        "/admin/tenants/{}/tokens",
        &[(Method::PUT, LocalRoute::TenantTokens)],
    ),
    (
        "/admin/tenants/{}/seal",
        &[(Method::POST, LocalRoute::TenantSeal)],
    ),
];

/// Routes of one tenant, relative to `/{tenant}`.
const OF_TENANT: &[Row] = &[
    (
        "/",
        &[
            (Method::GET, LocalRoute::TenantRoot),
            (Method::HEAD, LocalRoute::TenantRoot),
        ],
    ),
    ("/auth/anonymous", &[(Method::POST, LocalRoute::Anonymous)]),
    ("/auth/me", &[(Method::GET, LocalRoute::Me)]),
    (
        "/admin/config",
        &[
            (Method::GET, LocalRoute::Config),
            (Method::PUT, LocalRoute::ConfigReplace),
        ],
    ),
    ("/admin/usage", &[(Method::GET, LocalRoute::Usage)]),
    ("/admin/keys", &[(Method::POST, LocalRoute::KeyMint)]),
    (
        "/admin/keys/{}",
        &[
            (Method::GET, LocalRoute::KeyShow),
            (Method::PATCH, LocalRoute::KeyMove),
            (Method::DELETE, LocalRoute::KeyRevoke),
        ],
    ),
    (
        "/admin/keys/{}/credit",
        &[(Method::POST, LocalRoute::KeyCredit)],
    ),
];

/// Paths of a tenant that pages of other origins may call (CORS). Never routes for admins or backends.
const CORS_PATHS: &[&str] = &["", "/auth/anonymous", "/auth/me"];

/// Whether CORS applies to this path of a tenant.
pub fn allows_cors(path: &str) -> bool {
    CORS_PATHS.contains(&path.strip_suffix('/').unwrap_or(path))
}

/// Finds a global route.
pub fn global<'a>(method: &Method, path: &'a str) -> Resolved<'a> {
    find(GLOBAL, method, path)
}

/// Finds a route of a tenant; `path` is relative to `/{tenant}`.
pub fn of_tenant<'a>(method: &Method, path: &'a str) -> Resolved<'a> {
    find(OF_TENANT, method, path)
}

fn find<'a>(table: &[Row], method: &Method, path: &'a str) -> Resolved<'a> {
    let path = path.strip_suffix('/').unwrap_or(path);
    for (pattern, methods) in table {
        let Some(parts) = parts(pattern, path) else {
            continue;
        };
        return match methods.iter().find(|(listed, _)| listed == method) {
            Some((_, route)) => Resolved::Here(Matched {
                route: *route,
                parts,
            }),
            None => {
                let names: Vec<&str> = methods.iter().map(|(listed, _)| listed.as_str()).collect();
                Resolved::MethodNotAllowed(names.join(", "))
            }
        };
    }
    Resolved::Nothing
}

/// Returns the values of the pattern's `{}`, or `None` if the path does not match.
fn parts<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
    // Fast path: most paths are not local and differ before the first `{}`.
    let fixed = &pattern[..pattern.find('{').unwrap_or(pattern.len())];
    if !path.starts_with(fixed) {
        return None;
    }
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut parts = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parts),
            (Some("{}"), Some(part)) if !part.is_empty() => parts.push(part),
            (Some(word), Some(part)) if word == part => {}
            _ => return None,
        }
    }
}

/// Returns every route as (is below a tenant, path pattern, method), for checking the OpenAPI document.
/// `HEAD` is `GET` without the body.
pub fn all() -> impl Iterator<Item = (bool, &'static str, &'static Method)> {
    let rows = |of_tenant, table: &'static [Row]| {
        table.iter().flat_map(move |(pattern, methods)| {
            methods
                .iter()
                .map(move |(method, _)| (of_tenant, *pattern, method))
        })
    };
    rows(false, GLOBAL).chain(rows(true, OF_TENANT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_method_name_a_route() {
        let here = |route, parts: &[&'static str]| {
            Resolved::Here(Matched {
                route,
                parts: parts.to_vec(),
            })
        };
        assert_eq!(global(&Method::GET, "/"), here(LocalRoute::Root, &[]));
        assert_eq!(
            global(&Method::PUT, "/admin/tenants/abc"),
            here(LocalRoute::TenantReplace, &["abc"])
        );
        assert_eq!(
            global(&Method::PUT, "/admin/tenants/abc/tokens/"),
            here(LocalRoute::TenantTokens, &["abc"])
        );
        assert_eq!(
            of_tenant(&Method::GET, "/"),
            here(LocalRoute::TenantRoot, &[])
        );
        assert_eq!(
            of_tenant(&Method::POST, "/admin/keys/k/credit"),
            here(LocalRoute::KeyCredit, &["k"])
        );
        assert_eq!(
            of_tenant(&Method::GET, "/admin/keys//credit"),
            Resolved::Nothing
        );
        assert_eq!(
            of_tenant(&Method::DELETE, "/auth/me"),
            Resolved::MethodNotAllowed("GET".into())
        );
        assert_eq!(global(&Method::GET, "/nothing"), Resolved::Nothing);
    }
}
