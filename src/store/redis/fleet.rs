//! Routes names to servers: to the only one, or in a Cluster to the one that owns the name's slot.
//!
//! A redirected command (`MOVED`, `ASK`) is sent to the server that the redirect names, at most [`REDIRECTS`]
//! attempts in all. No other command may be sent twice from here. Whether an unanswered command is retried is
//! the caller's decision, because only the caller can mark it as a retry.

use super::dial::{Dial, Place};
use super::node::{Failure, Node, PROBE, describe};
use super::{slot, version};
use crate::settings::{Redis as Target, RedisKind};
use crate::store::StoreError;
use redis::{Cmd, RedisError, Value, from_redis_value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Deadline of a start while the server is still loading its data.
const START_PATIENCE: Duration = Duration::from_millis(4_500);
const START_PAUSE: Duration = Duration::from_millis(100);
/// Timeout for the connection to a Cluster's server.
const NODE_PATIENCE: Duration = Duration::from_secs(1);
/// Interval between refreshes of the slot map, unless a redirect or an error asks for one.
const MAP_EVERY: Duration = Duration::from_secs(5);
const REDIRECTS: usize = 4;
/// Names tried for a probe: enough to find one in every range of slots that is worth its own server.
const PROBE_NAMES: u32 = 1_000;

/// The server or servers behind the store.
pub enum Fleet {
    One(Arc<Node>),
    /// One server, which Sentinels may replace by a replica.
    Watched(Arc<Node>),
    Cluster(Arc<Cluster>),
}

pub struct Cluster {
    target: Target,
    generation: Arc<AtomicU64>,
    map: RwLock<Map>,
    stale: Notify,
}

/// Way of sending a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    /// Preceded by `ASKING`.
    Asked,
    /// On a connection of its own, until this many replicas have the write (`WAIT`).
    Kept(u64),
}

#[derive(Default)]
struct Map {
    nodes: HashMap<Place, Arc<Node>>,
    slots: Vec<Range>,
}

/// A range of consecutive slots, and its owner.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: u16,
    last: u16,
    owner: Place,
    has_replica: bool,
}

impl Range {
    fn has(&self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }

    fn whose(&self) -> (u16, u16, &Place) {
        (self.first, self.last, &self.owner)
    }
}

impl Fleet {
    /// Connects at start. Retries only while the server is loading its data. `generation` is incremented for
    /// each server that is replaced from then on.
    pub async fn open(target: &Target, generation: &Arc<AtomicU64>) -> Result<Fleet, String> {
        let dials: Vec<Dial> = match target.kind {
            RedisKind::Cluster => seeds(target),
            RedisKind::Single | RedisKind::Sentinel { .. } => {
                Dial::first(target).into_iter().collect()
            }
        };
        let deadline = Instant::now() + START_PATIENCE;
        let (dial, mut connection) = loop {
            let error = match first_to_answer(&dials).await {
                Ok(answered) => break answered,
                Err(error) => error,
            };
            if error.code() != Some("LOADING") || Instant::now() + START_PAUSE > deadline {
                return Err(describe(&error));
            }
            tokio::time::sleep(START_PAUSE).await;
        };
        version::warn_of_holes(&mut connection).await;
        if target.kind != RedisKind::Cluster {
            let node = Node::start(dial, Some(connection), generation.clone());
            return Ok(match target.kind {
                RedisKind::Single => Fleet::One(node),
                _ => Fleet::Watched(node),
            });
        }
        let cluster = Arc::new(Cluster {
            target: target.clone(),
            generation: generation.clone(),
            map: RwLock::default(),
            stale: Notify::new(),
        });
        let seed = Node::start(dial, Some(connection), generation.clone());
        cluster.draw_map(&seed).await?;
        tokio::spawn(keep_map(Arc::downgrade(&cluster)));
        for node in cluster.nodes() {
            node.connected(NODE_PATIENCE).await;
        }
        Ok(Fleet::Cluster(cluster))
    }

    /// Runs a command whose names all share the slot of `name`.
    pub async fn run(&self, name: &str, command: &Cmd) -> Result<Value, Failure> {
        match self {
            Fleet::One(node) | Fleet::Watched(node) => node.run(command).await,
            Fleet::Cluster(cluster) => cluster.run(name, command, How::Plain).await,
        }
    }

    /// Runs a command like [`Fleet::run`], and waits until `replicas` replicas have its write.
    pub async fn run_kept(
        &self,
        name: &str,
        command: &Cmd,
        replicas: u64,
    ) -> Result<Value, Failure> {
        match self {
            Fleet::One(node) | Fleet::Watched(node) => node.run_kept(command, replicas).await,
            Fleet::Cluster(cluster) => cluster.run(name, command, How::Kept(replicas)).await,
        }
    }

    /// Whether the server that has `name` can be replaced by a replica.
    pub async fn has_replica(&self, name: &str) -> bool {
        match self {
            Fleet::One(_) => false,
            Fleet::Watched(_) => true,
            Fleet::Cluster(cluster) => cluster.has_replica(slot::of(name)).await,
        }
    }

    /// Returns every server that owns names.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Fleet::One(node) | Fleet::Watched(node) => vec![node.clone()],
            Fleet::Cluster(cluster) => cluster.nodes(),
        }
    }
}

async fn first_to_answer(
    dials: &[Dial],
) -> Result<(Dial, redis::aio::MultiplexedConnection), RedisError> {
    let mut last = RedisError::from((redis::ErrorKind::InvalidClientConfig, "no server is named"));
    for dial in dials {
        match dial.connect().await {
            Ok(connection) => return Ok((dial.clone(), connection)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn seeds(target: &Target) -> Vec<Dial> {
    target
        .nodes
        .iter()
        .map(|place| Dial::fixed(target, place.clone()))
        .collect()
}

impl Cluster {
    fn seeds(&self) -> Vec<Dial> {
        seeds(&self.target)
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.nodes.values().cloned().collect()
    }

    fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let range = map.slots.iter().find(|range| range.has(slot))?;
        map.nodes.get(&range.owner).cloned()
    }

    /// Asks the server again each time: replicas come and go without any slot changing its owner.
    async fn has_replica(&self, slot: u16) -> bool {
        if let Some(node) = self.owner(slot) {
            // An error here is ignored: the command that follows will meet it too.
            let _ = self.draw_map(&node).await;
        }
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut ranges = map.slots.iter();
        ranges.any(|range| range.has(slot) && range.has_replica)
    }

    fn node_at(&self, place: Place) -> Arc<Node> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let dial = Dial::fixed(&self.target, place.clone());
        map.nodes
            .entry(place)
            .or_insert_with(|| Node::start(dial, None, self.generation.clone()))
            .clone()
    }

    async fn run(&self, name: &str, command: &Cmd, how: How) -> Result<Value, Failure> {
        let slot = slot::of(name);
        let nowhere = || {
            Failure::Store(StoreError::Unavailable(format!(
                "no server has slot {slot}"
            )))
        };
        let mut node = self.owner(slot).ok_or_else(|| {
            self.stale.notify_one();
            nowhere()
        })?;
        let mut now = how;
        for _ in 0..REDIRECTS {
            let answer = match now {
                How::Plain => node.run(command).await,
                How::Asked => node.run_asked(command).await,
                How::Kept(replicas) => node.run_kept(command, replicas).await,
            };
            let place = match &answer {
                Err(Failure::Moved { place }) => {
                    self.stale.notify_one();
                    now = how;
                    place
                }
                // A slot that is being migrated has no replicas at its new server yet.
                Err(Failure::Ask { .. }) if how != How::Plain => return Err(nowhere()),
                Err(Failure::Ask { place }) => {
                    now = How::Asked;
                    place
                }
                Err(Failure::Store(_)) => {
                    self.stale.notify_one();
                    return answer;
                }
                Err(Failure::NoScript) | Ok(_) => return answer,
            };
            node = self.node_at(parse_place(place).ok_or_else(nowhere)?);
            node.connected(NODE_PATIENCE).await;
        }
        Err(nowhere())
    }

    /// Reads the slot map from one node (`CLUSTER SLOTS`), and drops the nodes that own no slots.
    async fn draw_map(&self, node: &Node) -> Result<(), String> {
        let answer = node
            .run(redis::cmd("CLUSTER").arg("SLOTS"))
            .await
            .map_err(|failure| match failure {
                Failure::Store(error) => error.to_string(),
                other => format!("{other:?}"),
            })?;
        let rows: Vec<Value> = from_redis_value(answer).map_err(|error| error.to_string())?;
        let mut slots = Vec::new();
        for row in rows {
            let Value::Array(row) = row else { continue };
            let mut row = row.into_iter();
            let (Some(first), Some(last), Some(Value::Array(primary))) =
                (row.next(), row.next(), row.next())
            else {
                continue;
            };
            let mut primary = primary.into_iter();
            let (Some(host), Some(port)) = (primary.next(), primary.next()) else {
                continue;
            };
            let read = || -> Result<Range, redis::ParsingError> {
                Ok(Range {
                    first: from_redis_value(first)?,
                    last: from_redis_value(last)?,
                    owner: (from_redis_value(host)?, from_redis_value(port)?),
                    // `CLUSTER SLOTS` omits replicas that are down or have no data yet.
                    has_replica: row.next().is_some(),
                })
            };
            slots.push(read().map_err(|error| error.to_string())?);
        }
        // The order of the ranges differs between replies.
        slots.sort_unstable();
        if slots.is_empty() {
            return Err("the cluster has no slots assigned".to_owned());
        }
        for range in &slots {
            let node = self.node_at(range.owner.clone());
            let mut names = (0..PROBE_NAMES).map(|number| format!("{PROBE}:{number}"));
            if let Some(name) = names.find(|name| range.has(slot::of(name))) {
                node.probe_at(name);
            }
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        // The new owner of a slot may lack the latest writes of the old one.
        if !map
            .slots
            .iter()
            .map(Range::whose)
            .eq(slots.iter().map(Range::whose))
        {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        map.nodes
            .retain(|place, _| slots.iter().any(|range| range.owner == *place));
        map.slots = slots;
        Ok(())
    }
}

fn parse_place(place: &str) -> Option<Place> {
    let (host, port) = place.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

async fn keep_map(cluster: Weak<Cluster>) {
    loop {
        {
            let Some(this) = cluster.upgrade() else {
                return;
            };
            // A refresh that is asked for runs at once, but at most ten times a second (`START_PAUSE`).
            let _ = tokio::time::timeout(MAP_EVERY, this.stale.notified()).await;
        }
        let Some(this) = cluster.upgrade() else {
            return;
        };
        let mut drawn = false;
        for node in this.nodes() {
            if this.draw_map(&node).await.is_ok() {
                drawn = true;
                break;
            }
        }
        // No known server answers: start again from the configured ones.
        if !drawn && let Ok((dial, connection)) = first_to_answer(&this.seeds()).await {
            let seed = Node::start(dial, Some(connection), this.generation.clone());
            if let Err(error) = this.draw_map(&seed).await {
                log::debug!("No map of the cluster: {error}");
            }
        }
        drop(this);
        tokio::time::sleep(START_PAUSE).await;
    }
}
