pub mod demo;
pub mod json;
pub mod rules;
pub mod settings;
pub mod store;
