//! Audiences of the listeners, and the paths that each of them is answered.
//!
//! Beside `server.admin_listen` a public listener has no admin routes: their paths are refused before a credential is
//! read, as if there were nothing. A rule of paths and not of routes, so that pages to come are hidden by it, too.

use crate::local::route::{is_admin_route, is_for_admins, is_global};
use crate::rules::tenant::Addressed;
use crate::settings::Server;

/// Audience of a listener: `server.listen`, `server.admin_listen` or `server.ops_listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `server.listen` where `server.admin_listen` is unset: clients and admins.
    Everyone,
    /// `server.listen` beside `server.admin_listen`: clients alone.
    Public,
    /// `server.admin_listen`: admins alone.
    Admin,
    /// `server.ops_listen`: the operator's monitoring.
    Ops,
}

impl Side {
    /// Returns the side of `server.listen`.
    pub fn of_listen(server: &Server) -> Side {
        match server.admin_listen {
            None => Side::Everyone,
            Some(_) => Side::Public,
        }
    }

    /// Whether connections need a `ConnectionPermit` and a worker thread.
    pub fn is_limited(self) -> bool {
        self != Side::Ops
    }

    /// Whether `/{tenant}/admin` is answered. Elsewhere it is a path that the tenant does not have.
    pub fn has_admin_routes(self) -> bool {
        self != Side::Public
    }

    /// Whether a path gets 404 here before its tenant is looked up.
    pub fn lacks(self, path: &str, addressed: Option<&Addressed<'_>>) -> bool {
        let is_admin = || addressed.is_some_and(|to| is_admin_route(to.route));
        match self {
            Side::Everyone | Side::Ops => false,
            Side::Public => is_for_admins(path),
            Side::Admin => !(is_for_admins(path) || is_admin() || is_global(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tenant;

    fn lacks(side: Side, path: &str) -> bool {
        side.lacks(path, tenant::address(path).as_ref())
    }

    #[test]
    fn pages_of_admins_are_on_their_listener_alone() {
        for path in [
            "/admin",
            "/admin/",
            "/admin/tenants",
            "/admin/keys",
            "/admin//x",
            "/docs",
            "/docs/",
            "/console",
            "/console/a.js",
        ] {
            assert!(lacks(Side::Public, path), "{path}");
            assert!(!lacks(Side::Admin, path), "{path}");
            assert!(!lacks(Side::Everyone, path), "{path}");
        }
        assert!(!lacks(Side::Admin, "/abc/admin/config"));
        assert!(!Side::Public.has_admin_routes() && Side::Admin.has_admin_routes());
    }

    #[test]
    fn clients_are_not_served_where_admins_are() {
        for path in [
            "/abc",
            "/abc/",
            "/abc/v1/chat/completions",
            "/v1/models",
            "/v1/admin",
            "/abc/auth/me",
            "/abc/auth/sessions",
            "/auth/sessions",
            "/abc/billing/plans",
            "/abc/administrator",
            "/abc//admin/keys",
            "/abc/%61dmin/keys",
            "/%61dmin",
            "//admin",
            "/nothing/at/all",
            "*",
        ] {
            assert!(lacks(Side::Admin, path), "{path}");
            assert!(!lacks(Side::Public, path), "{path}");
        }
        for path in [
            "/",
            "/healthz",
            "/readyz",
            "/openapi.json",
            "/openapi.json/",
        ] {
            for side in [Side::Public, Side::Admin] {
                assert!(!lacks(side, path), "{side:?} {path}");
            }
        }
    }
}
