//! Maps a method and a path to a [`LocalRoute`], by the rows of `table.rs`.

use super::operation::Operation;
pub use super::operation::{Issuer, LocalRoute};
use super::table::{GLOBAL, OF_TENANT};
use http::Method;

/// A matched route, and the values of its path parameters (`{...}`).
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

/// Whether CORS applies to this path of a tenant.
pub fn allows_cors(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut rows = OF_TENANT.iter().filter(|row| row.allows_cors);
    rows.any(|row| parts(row.path, path).is_some())
}

/// First segments of the paths without a tenant that [`is_for_admins`].
const ADMIN_HEADS: [&str; 3] = [ADMIN_HEAD, "console", "docs"];
const ADMIN_HEAD: &str = "admin";

/// Whether a path begins like the gateway's own for admins: `/admin`, `/console` or `/docs`. No route needs to be
/// there.
pub fn is_for_admins(path: &str) -> bool {
    ADMIN_HEADS.contains(&head(path))
}

/// Whether the path of a tenant begins with `/admin`.
pub fn is_admin_route(route: &str) -> bool {
    head(route) == ADMIN_HEAD
}

/// Whether a path has a global route, for `GET` or any other method.
pub fn is_global(path: &str) -> bool {
    global(&Method::GET, path) != Resolved::Nothing
}

/// Returns the first segment of a path, without its `/`.
fn head(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// Returns the path pattern of a route, and whether it is below a tenant.
pub fn pattern(route: LocalRoute) -> (bool, &'static str) {
    let path = |table: &[Operation]| {
        table
            .iter()
            .find(|row| row.route == route)
            .map(|row| row.path)
    };
    match (path(GLOBAL), path(OF_TENANT)) {
        (Some(path), _) => (false, path),
        (None, path) => (true, path.unwrap_or_default()),
    }
}

/// Finds a global route.
pub fn global<'a>(method: &Method, path: &'a str) -> Resolved<'a> {
    find(GLOBAL, method, path)
}

/// Finds a route of a tenant; `path` is relative to `/{tenant}`.
pub fn of_tenant<'a>(method: &Method, path: &'a str) -> Resolved<'a> {
    find(OF_TENANT, method, path)
}

fn find<'a>(table: &'static [Operation], method: &Method, path: &'a str) -> Resolved<'a> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let Some((at, parts)) = first_fit(table, path) else {
        return Resolved::Nothing;
    };
    let pattern = table[at].path;
    let same_path = table[at..].iter().take_while(|row| row.path == pattern);
    match same_path.clone().find(|row| row.serves(method)) {
        Some(row) => Resolved::Here(Matched {
            route: row.route,
            parts,
        }),
        None => {
            let names: Vec<&str> = same_path.flat_map(Operation::methods).collect();
            Resolved::MethodNotAllowed(names.join(", "))
        }
    }
}

/// Returns the first row of the path, and the values of its parameters.
fn first_fit<'a>(table: &[Operation], path: &'a str) -> Option<(usize, Vec<&'a str>)> {
    let mut rows = table.iter().enumerate();
    rows.find_map(|(at, row)| Some((at, parts(row.path, path)?)))
}

/// Returns the values of the pattern's `{...}`, or `None` if the path does not match.
fn parts<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
    // Fast path: most paths are not local and differ before the first `{`.
    let fixed = &pattern[..pattern.find('{').unwrap_or(pattern.len())];
    if !path.starts_with(fixed) {
        return None;
    }
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut parts = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parts),
            (Some(word), Some(part)) if word.starts_with('{') && !part.is_empty() => {
                parts.push(part);
            }
            (Some(word), Some(part)) if word == part => {}
            _ => return None,
        }
    }
}

/// Whether answers of a route are a matter between it and its client: sign-in, keys and payments, which nobody may keep.
pub fn is_private(route: LocalRoute) -> bool {
    ["/auth/", "/billing/"]
        .iter()
        .any(|start| pattern(route).1.starts_with(start))
}

/// Returns every route as (is below a tenant, path pattern, method).
pub fn all() -> impl Iterator<Item = (bool, &'static str, &'static str)> {
    let rows = |of_tenant, table: &'static [Operation]| {
        let methods = move |row: &'static Operation| {
            row.methods()
                .map(move |method| (of_tenant, row.path, method))
        };
        table.iter().flat_map(methods)
    };
    rows(false, GLOBAL).chain(rows(true, OF_TENANT))
}

#[cfg(test)]
mod tests {
    use super::super::operation::Access;
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
            of_tenant(&Method::PUT, "/auth/me"),
            Resolved::MethodNotAllowed("GET, DELETE".into())
        );
        assert_eq!(
            global(&Method::POST, "/"),
            Resolved::MethodNotAllowed("GET, HEAD".into())
        );
        assert_eq!(
            global(&Method::PATCH, "/admin/tenants/abc"),
            Resolved::MethodNotAllowed("GET, PUT, DELETE".into())
        );
        assert_eq!(
            of_tenant(&Method::GET, "/admin/keys/{key}"),
            here(LocalRoute::KeyShow, &["{key}"])
        );
        assert_eq!(global(&Method::GET, "/nothing"), Resolved::Nothing);
    }

    #[test]
    fn cors_is_for_routes_without_an_admin() {
        for path in [
            "",
            "/",
            "/auth/anonymous",
            "/auth/me",
            "/auth/me/",
            "/auth/oidc/clerk",
            "/auth/token",
        ] {
            assert!(allows_cors(path), "{path}");
        }
        for path in [
            "/admin/config",
            "/admin/keys",
            "/auth",
            "/auth/me/x",
            "/auth/oidc/",
            "/auth/google/start",
            "/auth/oidc/clerk/callback",
        ] {
            assert!(!allows_cors(path), "{path}");
        }
    }

    /// Routes with an admin's token, and `/docs`; `auth/sessions` is for the app's server.
    #[test]
    fn paths_of_admins_are_those_of_their_routes() {
        let is_admins = |row: &&Operation| {
            matches!(row.access, Access::Admin | Access::Operator)
                && row.route != LocalRoute::Sessions
        };
        for row in GLOBAL {
            let expected = is_admins(&row) || row.route == LocalRoute::Docs;
            assert_eq!(is_for_admins(row.path), expected, "{}", row.path);
            assert!(is_global(row.path), "{}", row.path);
        }
        for row in OF_TENANT {
            assert_eq!(is_admin_route(row.path), is_admins(&row), "{}", row.path);
        }
    }

    /// The router takes the rows that follow the first one of a path.
    #[test]
    fn rows_of_one_path_stand_together() {
        for table in [GLOBAL, OF_TENANT] {
            let mut paths: Vec<&str> = table.iter().map(|row| row.path).collect();
            paths.dedup();
            let mut unique = paths.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(paths.len(), unique.len(), "{paths:?}");
        }
    }
}
