//! Connects to a Redis server: address, TLS, credentials, timeouts. Every connection is opened here.

use crate::settings::{Redis as Target, RedisKind};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError, RedisResult,
};
use std::fmt;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Response timeout. The outcome of a command that was not answered by then is unknown. The crate's default
/// of 500 ms is too short: a burst of streams was seen to fail.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

pub type Address = (String, u16);

/// Use of a connection, for log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Everything that decides about tokens.
    Ledger,
    /// Cached answers alone.
    Answers,
}

/// A server to connect to: one address, or the primary of a Sentinel service.
#[derive(Clone)]
pub(crate) struct Dial {
    target: Target,
    to: To,
}

#[derive(Clone)]
enum To {
    Fixed(Address),
    /// The primary that the sentinels name, asked again for each connection.
    PrimaryOf {
        service: String,
        sentinels: Vec<Address>,
    },
}

/// Address for log lines, without credentials.
impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::Fixed((host, port)) => write!(f, "{host}:{port}"),
            To::PrimaryOf { service, .. } => write!(f, "the primary of {service}"),
        }
    }
}

impl Dial {
    /// Returns the first server of the settings, or the service behind its sentinels. `None`: no server is
    /// set.
    pub fn first(target: &Target) -> Option<Dial> {
        let to = match &target.kind {
            RedisKind::Sentinel { service } => To::PrimaryOf {
                service: service.clone(),
                sentinels: target.nodes.clone(),
            },
            RedisKind::Single | RedisKind::Cluster => To::Fixed(target.nodes.first()?.clone()),
        };
        Some(Dial {
            target: target.clone(),
            to,
        })
    }

    pub fn fixed(target: &Target, place: Address) -> Dial {
        Dial {
            target: target.clone(),
            to: To::Fixed(place),
        }
    }

    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        self.connect_with(ProtocolVersion::RESP2, AsyncConnectionConfig::new())
            .await
    }

    /// Opens a separate RESP3 connection, whose pushes go to `pushes`.
    pub(crate) async fn connect_to_listen(
        &self,
        pushes: UnboundedSender<PushInfo>,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_push_sender(pushes);
        self.connect_with(ProtocolVersion::RESP3, config).await
    }

    async fn connect_with(
        &self,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let place = match &self.to {
            To::Fixed(place) => place.clone(),
            To::PrimaryOf { service, sentinels } => self.primary(service, sentinels).await?,
        };
        let settings = RedisConnectionInfo::default()
            .set_db(self.target.db)
            .set_protocol(protocol)
            .set_skip_set_lib_name();
        let settings = match &self.target.username {
            Some(name) => settings.set_username(name),
            None => settings,
        };
        let settings = match &self.target.password {
            Some(password) => settings.set_password(password.expose()),
            None => settings,
        };
        let mut connection = self.open(place, settings, config).await?;
        // A server that is still loading its data accepts connections, but not `PING`.
        let _: String = redis::cmd("PING").query_async(&mut connection).await?;
        Ok(connection)
    }

    async fn open(
        &self,
        (host, port): Address,
        settings: RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let address = if self.target.tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = address
            .into_connection_info()?
            .set_redis_settings(settings)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = config
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    async fn primary(&self, service: &str, sentinels: &[Address]) -> RedisResult<Address> {
        let mut last =
            RedisError::from((redis::ErrorKind::EmptySentinelList, "no sentinel is named"));
        for sentinel in sentinels {
            let asked = async {
                let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
                let config = AsyncConnectionConfig::new();
                let mut connection = self.open(sentinel.clone(), settings, config).await?;
                redis::cmd("SENTINEL")
                    .arg("get-master-addr-by-name")
                    .arg(service)
                    .query_async::<Option<Address>>(&mut connection)
                    .await
            };
            match asked.await {
                Ok(Some(primary)) => return Ok(primary),
                Ok(None) => {
                    let kind = redis::ErrorKind::MasterNameNotFoundBySentinel;
                    last =
                        RedisError::from((kind, "the sentinels do not know", service.to_owned()));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
