//! The two shapes of Stripe's objects: before and after API version `2025-03-31.basil`.
//!
//! Pure. The shape of an API answer follows the request's `Stripe-Version`; the shape of an event is the account's.

/// Shape of objects, which Basil changed: `invoice.subscription` became `invoice.parent`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiShape {
    Before,
    Basil,
}

impl ApiShape {
    /// Shape for a value of `Stripe-Version`, such as `2024-06-20` or `2025-03-31.basil`.
    pub(super) fn of_version(version: &str) -> ApiShape {
        let date = version.get(..10).unwrap_or(version);
        if date >= "2025-03-31" {
            ApiShape::Basil
        } else {
            ApiShape::Before
        }
    }

    /// Value of `api_version` in events.
    pub(super) fn version(self) -> &'static str {
        match self {
            ApiShape::Before => "2024-06-20",
            ApiShape::Basil => "2025-03-31.basil",
        }
    }
}
