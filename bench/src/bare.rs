//! A bare pingora-proxy with default settings and no filters: the baseline cost of the library.

use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use pingora::prelude::{HttpPeer, ProxyHttp, Server, Session, http_proxy_service};

use crate::Outcome;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    port: u16,
    /// The provider's port
    #[arg(long)]
    provider: u16,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

struct Bare {
    provider: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.provider, false, String::new())))
    }
}

/// Serves until the process is killed.
pub fn serve(args: &Args) -> Outcome<()> {
    let mut server = Server::new(None)?;
    server.bootstrap();
    let provider = SocketAddr::from((Ipv4Addr::LOCALHOST, args.provider));
    let mut service = http_proxy_service(&server.configuration, Bare { provider });
    // The only setting that is not the default: the same number of threads as the other contenders.
    service.threads = Some(args.threads);
    service.add_tcp(&format!("127.0.0.1:{}", args.port));
    server.add_service(service);
    server.run_forever()
}
