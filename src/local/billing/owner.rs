//! [`Owner`]: the account that an object of Stripe's was bought for, from the metadata that its checkout gave it.

use crate::rules::person::is_id;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;
use crate::stripe::objects::StripeMetadata;

/// Account that an object was bought for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub account: AccountName,
    /// ID of the account's payments. Whoever has deleted the account and come back has another one.
    pub purchases: String,
}

impl Owner {
    /// Reads the owner from an object's metadata. `None`: it is not this tenant's.
    pub(super) fn of(tenant: &Tenant, metadata: &StripeMetadata) -> Option<Owner> {
        if metadata.get("tenant")? != tenant.id.as_str() {
            return None;
        }
        let account = metadata.get("account").filter(|account| is_id(account))?;
        Some(Owner {
            account: AccountName::user(account)?,
            purchases: metadata
                .get("purchases")
                .filter(|id| !id.is_empty())?
                .to_owned(),
        })
    }

    /// Whether an object of these metadata is of this owner.
    pub(super) fn owns(&self, tenant: &Tenant, metadata: &StripeMetadata) -> bool {
        Owner::of(tenant, metadata).as_ref() == Some(self)
    }
}
