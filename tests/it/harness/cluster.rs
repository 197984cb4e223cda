//! A Redis Cluster of three real nodes without replicas, the slots in three equal parts.

use std::io;
use std::time::Duration;

use super::dir::TempDir;
use super::net::free_port;
use super::redis::{Redis, field_of};
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
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for number in 0..NODES {
            // Named, because the default (the port plus 10,000) may be anyone's.
            let bus = free_port().to_string();
            let node = Redis::in_dir(
                TempDir::new(),
                free_port(),
                &[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-config-file",
                    "nodes.conf",
                    "--cluster-node-timeout",
                    "2000",
                    "--cluster-port",
                    &bus,
                ],
            );
            // Distinct from the start, so that the nodes need not settle who is who.
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            let first = number * SLOTS / NODES;
            let last = (number + 1) * SLOTS / NODES - 1;
            let range = [first.to_string(), last.to_string()];
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
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

    /// The node that holds the slot of a key.
    #[track_caller]
    pub fn node_of(&self, key: &str) -> &Redis {
        let slot = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).int();
        let slot = usize::try_from(slot).expect("a slot");
        let owner = (0..NODES).find(|number| slot < (number + 1) * SLOTS / NODES);
        &self.nodes[owner.expect("a slot below 16,384")]
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

    /// Until every living node knows all nodes and all slots and takes commands.
    #[track_caller]
    pub fn wait_ok(&self) {
        let fields = [
            ("cluster_state", "ok".to_owned()),
            ("cluster_known_nodes", NODES.to_string()),
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
