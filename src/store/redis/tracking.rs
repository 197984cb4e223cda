//! Receives changes of configs from the server itself (`CLIENT TRACKING`), made by this or any other program.
//!
//! A separate connection subscribes to invalidations of every name under `tenant:`. While it lives and
//! answers, no change is missed. When it is lost, the followers learn that changes are not reported; when it
//! is back, that any config may have changed. It must never block a request.

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

/// Tracks changes for as long as `followers` is referenced elsewhere.
pub async fn track(dial: Dial, followers: Weak<Followers>) {
    let mut warned = false;
    while followers.strong_count() > 0 {
        match listen(&dial, &followers).await {
            Ok(()) => warned = false,
            Err(error) => {
                // The connection for commands logs a lost server; this warning is for a server that rejects
                // tracking.
                if !error.is_io_error() && !std::mem::replace(&mut warned, true) {
                    log::warn!(
                        "Redis does not report changed configs ({}): they are read twice a second instead. Allow CLIENT TRACKING in its ACL",
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

/// Receives pushes until the connection is lost.
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

/// Passes a push on to the followers. False: the connection is lost.
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
        // An invalidation without names: the whole database was flushed.
        (PushKind::Invalidate, _) => followers.all_changed(),
        _ => {}
    }
    true
}
