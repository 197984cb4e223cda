//! kill -9 in the middle of everything: nothing that was acknowledged is lost.

use crate::harness::{Gateway, Provider, Script, Setup, mint, sample};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ROUNDS: usize = 20;
const COST: u64 = 7;
const GRANT: u64 = 1_000_000;

/// What one client was told: its key, and how many of its calls were answered.
struct Told {
    key: String,
    answered: u64,
    /// A call was under way when the process died: charged or not, nobody can say.
    open: u64,
}

fn work(gateway: &Gateway, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<Told>> {
    let (client, stop) = (gateway.client(), stop.clone());
    let call = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});
    std::thread::spawn(move || {
        let mut all = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let Ok(minted) = client.request("POST", "/abc/auth/anonymous").try_send() else {
                break;
            };
            assert_eq!(minted.status, 200, "{}", minted.text());
            let key = minted.json()["apiKey"].as_str().unwrap().to_owned();
            let mut told = Told {
                key,
                answered: 0,
                open: 0,
            };
            for _ in 0..5 {
                match client
                    .request("POST", "/abc/v1/chat/completions")
                    .bearer(&told.key)
                    .json(&call)
                    .try_send()
                {
                    Ok(response) if response.status == 200 => told.answered += 1,
                    Ok(response) => panic!("{}", response.text()),
                    Err(_) => {
                        told.open += 1;
                        break;
                    }
                }
            }
            all.push(told);
        }
        all
    })
}

#[test]
fn twenty_kills_of_the_embedded_store_lose_no_acknowledged_mint_or_charge() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(GRANT))
        .yaml("accounts: { mints_per_address: 1000000 }");
    let mut told: HashMap<String, (u64, u64)> = HashMap::new();
    for round in 0..ROUNDS {
        let gateway = Gateway::start(setup.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..4).map(|_| work(&gateway, &stop)).collect();
        // A different moment each round.
        std::thread::sleep(Duration::from_millis(40 + 23 * (round as u64 % 7)));
        gateway.kill9();
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            for Told {
                key,
                answered,
                open,
            } in worker.join().unwrap()
            {
                told.insert(key, (answered, open));
            }
        }
    }
    let gateway = Gateway::start(setup);
    assert!(told.len() > ROUNDS, "{} keys", told.len());
    let mut charges = 0;
    for (key, (answered, open)) in &told {
        let me = gateway
            .client()
            .request("GET", "/abc/auth/me")
            .bearer(key)
            .send();
        assert_eq!(me.status, 200, "an acknowledged key is lost: {}", me.text());
        let left = me.json()["tokensLeft"].as_u64().unwrap();
        let spent = GRANT - left;
        assert!(
            spent >= answered * COST,
            "an acknowledged charge is lost: {spent} < {answered} x {COST}"
        );
        assert!(
            spent <= (answered + open) * COST,
            "charged twice: {spent} > ({answered} + {open}) x {COST}"
        );
        charges += answered;
    }
    assert!(charges > ROUNDS as u64, "{charges} charges");
    mint(&gateway, "abc");
}
