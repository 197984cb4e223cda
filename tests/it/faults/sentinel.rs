//! Redis behind Sentinel: the primary is killed, and the gateway finds the new one.

use crate::harness::{
    Gateway, Provider, Script, Sentinel, Setup, chat, eventually, me, mint, sample,
};
use serde_json::json;
use std::time::Duration;

#[test]
fn sentinel_failover_finds_the_new_primary() {
    let sentinel = Sentinel::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .store(&sentinel.url())
        .tenant("abc", sample(&provider).tokens(1000));
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");

    let call = json!({"messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);

    // Replication is asynchronous: wait until the replica has the record.
    let record = || sentinel.other().cli(&["GET", &format!("apiKey:{key}")]);
    eventually(Duration::from_secs(5), "the replica has the record", || {
        (!record().is_nil() && record().text().contains(":993")).then_some(())
    });

    let dead = sentinel.kill_primary();
    let refused = eventually(Duration::from_secs(5), "the loss is noticed", || {
        let refused = chat(&gateway, "abc", &key, &call);
        (refused.status == 503).then_some(refused)
    });
    assert_eq!(refused.header("retry-after"), Some("1"));

    sentinel.wait_failover(dead);
    eventually(Duration::from_secs(5), "the new primary is found", || {
        (chat(&gateway, "abc", &key, &call).status == 200).then_some(())
    });

    let me = me(&gateway, &key);
    assert_eq!(
        (&me["tokensLeft"], &me["tokensFree"]),
        (&json!(986), &json!(986))
    );
}
