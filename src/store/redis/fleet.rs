//! Routes names to servers: to the only one, or in a Cluster to the one that owns the name's slot.
//!
//! A redirected command (`MOVED`, `ASK`) is sent to the server that the redirect names, at most [`MAX_ATTEMPTS`]
//! attempts in all. No other command may be sent twice from here. Whether an unanswered command is retried is
//! the caller's decision, because only the caller can mark it as a retry.

use super::dial::{Address, Dial, Purpose};
use super::node::{CommandFailure, Node, PROBE, describe};
use super::{slot, version};
use crate::settings::{Redis as Target, RedisKind};
use crate::store::{Outcome, StoreError};
use crate::telemetry::counter::Histogram;
use parking_lot::RwLock;
use redis::{Cmd, RedisError, Value, from_redis_value};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Deadline of a start while the server is still loading its data.
const LOADING_TIMEOUT: Duration = Duration::from_millis(4_500);
const START_PAUSE: Duration = Duration::from_millis(100);
/// Timeout for the connection to a Cluster's server.
const CONNECT_WAIT: Duration = Duration::from_secs(1);
/// Interval between refreshes of the slot map, unless a redirect or an error asks for one.
const MAP_REFRESH_INTERVAL: Duration = Duration::from_secs(5);
const MAX_ATTEMPTS: usize = 4;
/// Names tried for a probe: enough to find one in every range of slots that is worth its own server.
const PROBE_NAMES: u32 = 1_000;

/// The server or servers behind the store.
pub(crate) enum Fleet {
    One(Arc<Node>),
    /// One server, which Sentinels may replace by a replica.
    Watched(Arc<Node>),
    Cluster(Arc<Cluster>),
}

pub struct Cluster {
    target: Target,
    purpose: Purpose,
    generation: Arc<AtomicU64>,
    durations: Histogram,
    map: RwLock<Map>,
    stale: Notify,
}

/// Way of sending a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SendMode {
    Plain,
    /// Preceded by `ASKING`.
    Asked,
    /// On a connection of its own, until this many replicas have the write (`WAIT`).
    Replicated(u64),
}

#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    slots: Vec<Range>,
}

/// A range of consecutive slots, and its owner.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: u16,
    last: u16,
    owner: Address,
    has_replica: bool,
}

impl Range {
    fn has(&self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }

    fn whose(&self) -> (u16, u16, &Address) {
        (self.first, self.last, &self.owner)
    }
}

impl Fleet {
    /// Connects at start. Retries only while the server is loading its data. `generation` is incremented for
    /// each server that is replaced from then on; `durations` gets the round trips.
    pub async fn open(
        target: &Target,
        purpose: Purpose,
        generation: &Arc<AtomicU64>,
        durations: &Histogram,
    ) -> Result<Fleet, String> {
        let dials: Vec<Dial> = match target.kind {
            RedisKind::Cluster => seeds(target),
            RedisKind::Single | RedisKind::Sentinel { .. } => {
                Dial::first(target).into_iter().collect()
            }
        };
        let deadline = Instant::now() + LOADING_TIMEOUT;
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
        if purpose == Purpose::Ledger {
            version::warn_if_vulnerable(&mut connection).await;
        }
        if target.kind != RedisKind::Cluster {
            let node = Node::start(dial, purpose, Some(connection), generation, durations);
            return Ok(match target.kind {
                RedisKind::Single => Fleet::One(node),
                _ => Fleet::Watched(node),
            });
        }
        let cluster = Arc::new(Cluster {
            target: target.clone(),
            purpose,
            generation: generation.clone(),
            durations: durations.clone(),
            map: RwLock::default(),
            stale: Notify::new(),
        });
        let seed = Node::start(dial, purpose, Some(connection), generation, durations);
        cluster.draw_map(&seed).await?;
        tokio::spawn(keep_map(Arc::downgrade(&cluster)));
        for node in cluster.nodes() {
            node.connected(CONNECT_WAIT).await;
        }
        Ok(Fleet::Cluster(cluster))
    }

    /// Runs a command whose names all share the slot of `name`.
    pub async fn run(&self, name: &str, command: &Cmd) -> Result<Value, CommandFailure> {
        match self {
            Fleet::One(node) | Fleet::Watched(node) => node.run(command).await,
            Fleet::Cluster(cluster) => cluster.run(name, command, SendMode::Plain).await,
        }
    }

    /// Runs a command like [`Fleet::run`], and waits until `replicas` replicas have its write.
    pub(crate) async fn run_replicated(
        &self,
        name: &str,
        command: &Cmd,
        replicas: u64,
    ) -> Result<Value, CommandFailure> {
        match self {
            Fleet::One(node) | Fleet::Watched(node) => node.run_replicated(command, replicas).await,
            Fleet::Cluster(cluster) => {
                cluster
                    .run(name, command, SendMode::Replicated(replicas))
                    .await
            }
        }
    }

    /// Whether the server that has `name` can be replaced by a replica.
    pub(crate) async fn has_replica(&self, name: &str) -> bool {
        match self {
            Fleet::One(_) => false,
            Fleet::Watched(_) => true,
            Fleet::Cluster(cluster) => cluster.has_replica(slot::of(name)).await,
        }
    }

    /// Returns the names on all servers that match one of `patterns`.
    pub(crate) async fn scan(&self, patterns: &[&str]) -> Outcome<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for node in self.nodes() {
            for pattern in patterns {
                let mut cursor = "0".to_owned();
                loop {
                    let mut command = redis::cmd("SCAN");
                    command
                        .arg(&cursor)
                        .arg(&["MATCH", pattern, "COUNT", "1000"]);
                    let page = node.run(&command).await;
                    let page = page.map_err(CommandFailure::into_error)?;
                    let (next, names): (String, Vec<Vec<u8>>) = from_redis_value(page)
                        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
                    // Names that are no text are another program's.
                    found.extend(names.into_iter().flat_map(String::from_utf8));
                    cursor = next;
                    if cursor == "0" {
                        break;
                    }
                }
            }
        }
        Ok(found)
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
        let map = self.map.read();
        map.nodes.values().cloned().collect()
    }

    fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let map = self.map.read();
        let range = map.slots.iter().find(|range| range.has(slot))?;
        map.nodes.get(&range.owner).cloned()
    }

    /// Asks the server again each time: replicas come and go without any slot changing its owner.
    async fn has_replica(&self, slot: u16) -> bool {
        if let Some(node) = self.owner(slot) {
            // An error here is ignored: the command that follows will meet it too.
            let _ = self.draw_map(&node).await;
        }
        let map = self.map.read();
        let mut ranges = map.slots.iter();
        ranges.any(|range| range.has(slot) && range.has_replica)
    }

    fn node_at(&self, place: Address) -> Arc<Node> {
        let mut map = self.map.write();
        let dial = Dial::fixed(&self.target, place.clone());
        map.nodes
            .entry(place)
            .or_insert_with(|| {
                Node::start(dial, self.purpose, None, &self.generation, &self.durations)
            })
            .clone()
    }

    async fn run(&self, name: &str, command: &Cmd, how: SendMode) -> Result<Value, CommandFailure> {
        let slot = slot::of(name);
        let nowhere = || {
            CommandFailure::Store(StoreError::Unavailable(format!(
                "no server has slot {slot}"
            )))
        };
        let mut node = self.owner(slot).ok_or_else(|| {
            self.stale.notify_one();
            nowhere()
        })?;
        let mut now = how;
        for _ in 0..MAX_ATTEMPTS {
            let answer = match now {
                SendMode::Plain => node.run(command).await,
                SendMode::Asked => node.run_asked(command).await,
                SendMode::Replicated(replicas) => node.run_replicated(command, replicas).await,
            };
            let place = match &answer {
                Err(CommandFailure::Moved { place }) => {
                    self.stale.notify_one();
                    now = how;
                    place
                }
                // A slot that is being migrated has no replicas at its new server yet.
                Err(CommandFailure::Ask { .. }) if how != SendMode::Plain => return Err(nowhere()),
                Err(CommandFailure::Ask { place }) => {
                    now = SendMode::Asked;
                    place
                }
                Err(CommandFailure::Store(_)) => {
                    self.stale.notify_one();
                    return answer;
                }
                Err(CommandFailure::NoScript) | Ok(_) => return answer,
            };
            node = self.node_at(parse_place(place).ok_or_else(nowhere)?);
            node.connected(CONNECT_WAIT).await;
        }
        Err(nowhere())
    }

    /// Reads the slot map from one node (`CLUSTER SLOTS`), and drops the nodes that own no slots.
    async fn draw_map(&self, node: &Node) -> Result<(), String> {
        let answer = node
            .run(redis::cmd("CLUSTER").arg("SLOTS"))
            .await
            .map_err(|failure| match failure {
                CommandFailure::Store(error) => error.to_string(),
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
        let mut map = self.map.write();
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

fn parse_place(place: &str) -> Option<Address> {
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
            let _ = tokio::time::timeout(MAP_REFRESH_INTERVAL, this.stale.notified()).await;
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
            let seed = Node::start(
                dial,
                this.purpose,
                Some(connection),
                &this.generation,
                &this.durations,
            );
            if let Err(error) = this.draw_map(&seed).await {
                log::debug!("No map of the cluster: {error}");
            }
        }
        drop(this);
        tokio::time::sleep(START_PAUSE).await;
    }
}
