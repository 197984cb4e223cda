//! The signature of an event for an app, as Standard Webhooks has it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Returns the value of `webhook-signature`: one signature for each key.
pub(super) fn signed(
    keys: impl Iterator<Item = Vec<u8>>,
    id: &str,
    timestamp: u64,
    body: &str,
) -> String {
    let text = format!("{id}.{timestamp}.{body}");
    let signatures = keys.map(|key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        format!("v1,{}", STANDARD.encode(hmac::sign(&key, text.as_bytes())))
    });
    signatures.collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Example of the specification (standardwebhooks.com).
    #[test]
    fn the_example_of_the_specification_is_signed_alike() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = signed(
            [key].into_iter(),
            id,
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
