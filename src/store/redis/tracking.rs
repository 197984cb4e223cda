//! Hears of changed configs from the server itself, whoever changed them.
//!
//! One connection of its own asks for invalidations of every name under `tenant:`. While it lives
//! and answers, nothing changes unheard. When it is lost, the followers are told that they hear
//! nothing; when it is back, that anything may have changed. It never blocks a request.

use super::dial::Dial;
use super::node::describe;
use crate::store::followers::Followers;
use crate::store::name;
use redis::{PushInfo, PushKind, RedisResult, Value};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;

const HEARTBEAT: Duration = Duration::from_millis(250);
const SILENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);

/// Lives as long as someone holds the followers.
pub async fn track(dial: Dial, followers: Weak<Followers>) {
    let mut warned = false;
    while followers.strong_count() > 0 {
        match listen(&dial, &followers).await {
            Ok(()) => warned = false,
            Err(error) => {
                // The commands' own connection reports a lost server; this is for one that refuses.
                if !error.is_io_error() && !std::mem::replace(&mut warned, true) {
                    log::warn!(
                        "Redis does not report changed configs ({}); they are read again twice a second",
                        describe(&error)
                    );
                }
            }
        }
        if let Some(followers) = followers.upgrade() {
            followers.following(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns when the connection is lost.
async fn listen(dial: &Dial, followers: &Weak<Followers>) -> RedisResult<()> {
    let (pushes, mut pushed) = mpsc::unbounded_channel();
    let mut connection = dial.connect_to_listen(pushes).await?;
    redis::cmd("CLIENT")
        .arg(&["TRACKING", "ON", "BCAST", "PREFIX", "tenant:"])
        .query_async::<String>(&mut connection)
        .await?;
    if let Some(followers) = followers.upgrade() {
        followers.all_changed();
        followers.following(true);
    }
    loop {
        match tokio::time::timeout(HEARTBEAT, pushed.recv()).await {
            Ok(Some(push)) => {
                let Some(followers) = followers.upgrade() else {
                    return Ok(());
                };
                if !tell(&push, &followers) {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(_) => {
                let ping = redis::cmd("PING");
                let answered =
                    tokio::time::timeout(SILENCE, ping.query_async::<String>(&mut connection))
                        .await;
                if !matches!(answered, Ok(Ok(_))) || followers.strong_count() == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// False: the connection is gone.
fn tell(push: &PushInfo, followers: &Arc<Followers>) -> bool {
    match (&push.kind, push.data.first()) {
        (PushKind::Disconnection, _) => return false,
        (PushKind::Invalidate, Some(Value::Array(names))) => {
            for value in names {
                let Value::BulkString(bytes) = value else {
                    continue;
                };
                let tenant = std::str::from_utf8(bytes)
                    .ok()
                    .and_then(name::tenant_of_config);
                if let Some(tenant) = tenant {
                    followers.changed(tenant);
                }
            }
        }
        // The whole database was flushed.
        (PushKind::Invalidate, _) => followers.all_changed(),
        _ => {}
    }
    true
}
