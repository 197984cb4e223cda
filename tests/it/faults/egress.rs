//! Where a tenant's URL may lead.
