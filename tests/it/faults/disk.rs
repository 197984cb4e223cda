//! The embedded store on a bad disk.
