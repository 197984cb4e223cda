//! The files of `deploy/` as they are shipped: nginx and Caddy in front of two gateways, and the systemd units.
//!
//! Only ports, names, networks and paths are replaced in them.

mod cases;
mod front;
mod load;
mod units;
