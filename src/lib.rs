pub mod json;
pub mod rules;
