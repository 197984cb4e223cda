//! Tests of the signature's bytes, and of delivery in order and again.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

fn signer() -> Signer {
    Signer::new("sk_test_1", Arc::new(|| 1_700_000_000))
}

fn event(id: &str) -> RecordedEvent {
    RecordedEvent {
        id: id.to_owned(),
        kind: "invoice.paid".to_owned(),
        body: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
    }
}

#[test]
fn each_secret_gives_one_v1_over_time_and_body() {
    let signer = signer();

    signer.set_secrets(vec!["whsec_one".to_owned(), "whsec_two".to_owned()]);
    let signed = signer.signed(event("evt_1"));

    // From Python: hmac.new(b"whsec_one", b'1700000000.{"id":"evt_1"}', "sha256")
    let first = "401fbbceeb3818dc562ff77127ba1c62e47e24c9c6cde4d7a6eba85e32dbd058";
    let rest = signed
        .signature
        .strip_prefix(&format!("t=1700000000,v1={first},v1="));
    assert_eq!(rest.unwrap().len(), 64);
    assert_eq!(
        signed.signature,
        signer.signature(&signed.body, 1_700_000_000)
    );
}

/// Refuses the first delivery of every event whose id ends with `0`.
#[derive(Default)]
struct Webhook {
    received: Mutex<Vec<String>>,
    refused: AtomicUsize,
}

#[async_trait]
impl Deliver for Webhook {
    async fn deliver(&self, event: SignedEvent) -> bool {
        if event.id.ends_with('0') && self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            return false;
        }
        self.received.lock().push(event.id);
        true
    }
}

#[tokio::test]
async fn events_come_in_order_and_a_refused_one_comes_again() {
    let (sender, receiver) = mpsc::channel(10);
    let webhook = Arc::new(Webhook::default());
    let signer = Arc::new(signer());
    let delivery = deliver_all(
        receiver,
        Arc::clone(&signer),
        Arc::clone(&webhook) as Arc<dyn Deliver>,
    );
    let delivery = tokio::spawn(delivery);

    for id in ["evt_0", "evt_1", "evt_2"] {
        sender.send(event(id)).await.unwrap();
    }
    drop(sender);
    delivery.await.unwrap();

    assert_eq!(*webhook.received.lock(), ["evt_1", "evt_2"]);
    tokio::time::timeout(Duration::from_secs(10), async {
        while webhook.received.lock().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(*webhook.received.lock(), ["evt_1", "evt_2", "evt_0"]);
}
