//! Errors of the local routes: [`Error`] with a sentence, [`InvalidConfig`] with every fault of a tenant config.

use crate::tables::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An error of a local route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend(
    "examples" = [{"error": "Invalid tenant ID"}],
    "not" = {"required": ["details"]}
))]
pub struct Error {
    /// A sentence that says what went wrong.
    pub error: String,
}

/// Everything that is wrong with a config, at once. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "error": "Invalid tenant config",
    "details": [{
        "path": "user_groups.anonymous.tokens",
        "message": "expected a whole number from 0 to 9007199254740991, not -5"
    }]
}]))]
pub struct InvalidConfig {
    #[schemars(extend("const" = InvalidConfig::SENTENCE))]
    pub error: String,
    /// All faults.
    #[schemars(length(min = 1))]
    pub details: Vec<ConfigFault>,
}

impl InvalidConfig {
    const SENTENCE: &'static str = "Invalid tenant config";

    pub fn new(faults: Vec<Fault>) -> InvalidConfig {
        InvalidConfig {
            error: Self::SENTENCE.to_owned(),
            details: faults.into_iter().map(ConfigFault::of).collect(),
        }
    }
}

/// One fault of a tenant config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct ConfigFault {
    /// Place of the fault, as names with dots; empty for the config as a whole.
    pub path: String,
    /// A sentence that says what is wrong there.
    pub message: String,
}

impl ConfigFault {
    pub fn of(fault: Fault) -> ConfigFault {
        let Fault { path, message, .. } = fault;
        ConfigFault { path, message }
    }
}
