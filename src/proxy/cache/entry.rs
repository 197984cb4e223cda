//! KeptAnswer of the cache: an answer with what it has cost, as one piece of bytes.

use crate::rules::amount::Tokens;
use crate::rules::money::Amount;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptAnswer {
    pub about: About,
    pub body: Bytes,
}

/// Facts about a kept answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    pub content_type: String,
    /// Cost of the first answer.
    pub cost: Tokens,
    /// The same in money, if the tenant had a price for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Currency of the amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Endpoint that has answered.
    pub endpoint: String,
    /// Length of the body in bytes.
    pub length: usize,
}

impl About {
    /// Returns the amount, if it is in this currency: a config may name another one since.
    pub(crate) fn amount_in(&self, currency: Option<&str>) -> Option<Amount> {
        let is_same = currency.is_some() && self.currency.as_deref() == currency;
        self.amount.filter(|_| is_same)
    }
}

impl KeptAnswer {
    /// Returns one line of facts, then the body.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = serde_json::to_vec(&self.about).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes.into()
    }

    /// Parses what [`KeptAnswer::encode`] wrote. `None`: it is something else, or not whole.
    pub(crate) fn decode(bytes: &Bytes) -> Option<KeptAnswer> {
        let end = memchr::memchr(b'\n', bytes)?;
        let about: About = serde_json::from_slice(&bytes[..end]).ok()?;
        let body = bytes.slice(end + 1..);
        (body.len() == about.length).then_some(KeptAnswer { about, body })
    }

    pub(crate) fn is_json(&self) -> bool {
        self.about.content_type == "application/json"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_and_nothing_less(
            body: Vec<u8>, cost in 0u64..1 << 53, endpoint: String, cut in 0usize..200,
        ) {
            let entry = KeptAnswer {
                about: About {
                    content_type: "text/plain".to_owned(),
                    cost: Tokens::new(cost),
                    amount: None,
                    currency: Some("EUR".to_owned()),
                    endpoint,
                    length: body.len(),
                },
                body: body.into(),
            };
            let bytes = entry.encode();
            prop_assert_eq!(KeptAnswer::decode(&bytes), Some(entry));
            if cut < bytes.len() {
                prop_assert_eq!(KeptAnswer::decode(&bytes.slice(..cut)), None);
            }
        }
    }
}
