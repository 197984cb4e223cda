//! A Redis Cluster of three real nodes with a third of the slots each, optionally with replicas.

use std::io;
use std::time::Duration;

use super::dir::TempDir;
use super::net::free_port;
use super::redis::{REPLICATION, Redis, field_of};
use super::resp::Reply;
use super::wait::eventually;

const SLOTS: usize = 16_384;
const NODES: usize = 3;
const MOVES: usize = 5;
const START: Duration = Duration::from_secs(30);

pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    #[track_caller]
    pub fn start() -> Cluster {
        Cluster::of(NODES)
    }

    /// A cluster whose nodes have replicas, which are promoted about three seconds after a node's death.
    #[track_caller]
    pub fn with_replicas() -> Cluster {
        let cluster = Cluster::of(2 * NODES);
        let (primaries, replicas) = cluster.nodes.split_at(NODES);
        for (primary, replica) in primaries.iter().zip(replicas) {
            let id = primary.cli(&["CLUSTER", "MYID"]).text();
            replica.cli(&["CLUSTER", "REPLICATE", &id]);
        }
        cluster.wait_in_step();
        cluster
    }

    /// Starts `count` nodes; the first three own the slots.
    #[track_caller]
    fn of(count: usize) -> Cluster {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for number in 0..count {
            // Explicit, because the default bus port (port + 10,000) may be taken.
            let bus = free_port().to_string();
            let cluster = [
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                "nodes.conf",
                "--cluster-node-timeout",
                "2000",
                "--cluster-port",
                &bus,
                "--repl-diskless-sync-delay",
                "0",
            ];
            let options = [&cluster[..], &REPLICATION].concat();
            let node = Redis::in_dir(TempDir::new(), free_port(), &options);
            // Distinct epochs spare the nodes an election.
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < NODES {
                let first = number * SLOTS / NODES;
                let last = (number + 1) * SLOTS / NODES - 1;
                let range = [first.to_string(), last.to_string()];
                node.cli(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            }
            nodes.push(node);
            buses.push(bus);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let port = node.port().to_string();
            nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        let cluster = Cluster { nodes };
        cluster.wait_ok();
        cluster
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Node that owns a key's slot.
    #[track_caller]
    pub fn node_of(&self, key: &str) -> &Redis {
        let slot = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).int();
        let slot = usize::try_from(slot).expect("a slot");
        let owner = (0..NODES).find(|number| slot < (number + 1) * SLOTS / NODES);
        &self.nodes[owner.expect("a slot below 16,384")]
    }

    /// Replica of a primary node.
    #[track_caller]
    pub fn replica_of(&self, node: &Redis) -> &Redis {
        let port = node.port().to_string();
        let mut nodes = self.nodes.iter().filter(|node| node.is_alive());
        let replica = nodes.find(|node| node.info("master_port").as_ref() == Some(&port));
        replica.expect("a replica of that node")
    }

    /// Waits until this replica is promoted.
    #[track_caller]
    pub fn wait_promoted(&self, replica: &Redis) {
        eventually(START, "a replica was promoted", || {
            (replica.info("role")? == "master").then_some(())
        });
        self.wait_ok();
    }

    /// Waits until every replica is in sync and every node knows it.
    #[track_caller]
    pub fn wait_in_step(&self) {
        eventually(START, "every replica is in step", || {
            let follows = |node: &Redis| {
                let link = node.info("master_link_status");
                node.info("role").as_deref() == Some("slave") && link.as_deref() == Some("up")
            };
            let following = self.nodes.iter().filter(|node| follows(node)).count();
            let knows = |node: &Redis| match node.cli(&["CLUSTER", "SLOTS"]) {
                // First slot, last slot, primary, replica.
                Reply::List(rows) => rows
                    .iter()
                    .all(|row| matches!(row, Reply::List(row) if row.len() == 4)),
                _ => false,
            };
            let known = self.nodes.iter().all(knows);
            (following == self.nodes.len() - NODES && known).then_some(())
        });
        self.wait_ok();
    }

    /// Runs one command on the node it belongs to. An error reply fails the test.
    #[track_caller]
    pub fn cli(&self, command: &[&str]) -> Reply {
        match self.try_cli(command) {
            Ok(Reply::Error(message)) => panic!("{command:?} in the cluster: {message}"),
            Ok(reply) => reply,
            Err(error) => panic!("{command:?} in the cluster: {error}"),
        }
    }

    pub fn try_cli(&self, command: &[&str]) -> io::Result<Reply> {
        let alive = self.nodes.iter().find(|node| node.is_alive());
        let mut node = alive.expect("a living node to ask");
        for _ in 0..MOVES {
            let reply = node.try_cli(command)?;
            // MOVED <slot> <host>:<port>
            let moved = reply.error().and_then(|text| text.strip_prefix("MOVED "));
            let Some((_, port)) = moved.and_then(|text| text.rsplit_once(':')) else {
                return Ok(reply);
            };
            let next = self.nodes.iter().find(|n| n.port().to_string() == port);
            node = next.expect("MOVED names one of the nodes");
        }
        Err(io::Error::other("sent from node to node in a circle"))
    }

    /// Waits until every living node knows all nodes and slots and accepts commands.
    #[track_caller]
    pub fn wait_ok(&self) {
        let fields = [
            ("cluster_state", "ok".to_owned()),
            ("cluster_known_nodes", self.nodes.len().to_string()),
            ("cluster_slots_ok", SLOTS.to_string()),
        ];
        eventually(START, "cluster_state:ok on every node", || {
            self.nodes
                .iter()
                .filter(|node| node.is_alive())
                .all(|node| {
                    let Ok(Reply::Bulk(text)) = node.try_cli(&["CLUSTER", "INFO"]) else {
                        return false;
                    };
                    let text = String::from_utf8_lossy(&text);
                    fields
                        .iter()
                        .all(|(name, value)| field_of(&text, name).as_ref() == Some(value))
                })
                .then_some(())
        });
    }
}
