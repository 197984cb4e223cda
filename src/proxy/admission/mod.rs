//! Admission decides whether a call may run: [`authenticate`] its key, [`estimate`] its cost, [`admit`] it
//! with a hold.

pub mod admit;
pub mod authenticate;
pub mod candidates;
pub mod estimate;
pub mod image_bounds;
pub mod output_limit;
pub mod terms;
pub mod token_counter;
