//! Attempts of an admitted call: endpoint after endpoint is asked, until one answers.
//!
//! All of them share one hold, one bill and one usage record. Once anything of an answer was passed on to the client,
//! no other attempt is made.

pub mod in_turn;
pub mod turns;
pub mod watch;
