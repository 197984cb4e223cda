//! Tenants do not see each other.
