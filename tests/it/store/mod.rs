//! The store below the gateway: one contract for every engine, random histories against the pure rule,
//! and sealed secrets.

pub mod contract;
mod copies;
mod histories;
mod mixed;
mod people_histories;
mod sealing;
