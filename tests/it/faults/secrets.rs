//! Nothing secret is ever seen.
