//! The store below the gateway: one contract for every engine, random histories against the pure rule,
//! and sealed secrets.

mod answers;
pub mod contract;
mod copies;
mod histories;
mod mixed;
mod people_histories;
mod sealing;
