//! One test for each bug that was found, named after the behaviour that was wrong.

mod configs;
mod models;
mod operator;
mod provider;
mod requests;
mod store;

use serde_json::{Value, json};

fn hi() -> Value {
    json!({"messages": [{"role": "user", "content": "Hi"}]})
}
