//! Answers of the routes about the gateway itself, and [`Success`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The service that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{"message": "ResuLLM API is running"}]))]
pub struct Root {
    /// `<service name> API is running`
    pub message: String,
}

/// The process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alive {
    pub status: AliveStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AliveStatus {
    Ok,
}

/// Traffic is welcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    pub status: ReadyStatus,
    /// Endpoints that this instance passes over now. Only on `server.ops_listen`, for `?verbose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<PassedOverEndpoint>")]
    pub passed_over: Option<Vec<PassedOverEndpoint>>,
}

/// An endpoint that is asked only where there is no other: its calls failed, or its provider asked for a rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassedOverEndpoint {
    /// The tenant's ID.
    pub tenant: String,
    /// Name of the endpoint in the tenant's config.
    pub endpoint: String,
    /// Model that it is asked for.
    pub model: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ReadyStatus {
    Ready,
}

/// Done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Success {
    #[schemars(extend("const" = true))]
    pub success: bool,
}

impl Success {
    pub const DONE: Success = Success { success: true };
}
