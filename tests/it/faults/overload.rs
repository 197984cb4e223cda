//! More than the gateway can take, and stopping in the middle of it.
