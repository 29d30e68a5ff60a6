//! `tidegate lab attack`: peers that take more than they give.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tidegate_lab::attack::{Attack, Plan, open};
use tidegate_lab::spec::duration;
use tokio::time::{sleep, timeout};

use crate::say::say;

/// How often the crowd is counted.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct AttackArguments {
    /// What the peers do
    #[arg(value_enum)]
    attack: AttackArgument,
    /// Whom they meet, an address of this machine: http://127.0.0.1:PORT/PATH
    target: http::Uri,
    /// Connections
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Streams on each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    streams: u32,
    /// Bytes of each upload
    #[arg(long, default_value_t = 1 << 20)]
    upload: u64,
    /// The client's address, any of 127.0.0.0/8 [default: the system's choice]
    #[arg(long)]
    from: Option<std::net::IpAddr>,
    /// How long it goes on
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AttackArgument {
    /// ask with all the credit there is, and never read
    Unread,
    /// ask, and give no credit for a single byte
    Zero,
    /// upload to a service that does not read
    Hold,
    /// like zero, with heads of one-byte references to a long field
    Bomb,
    /// ask over HTTP/1.1 and read a byte every 5 s
    Slow,
    /// the same over HTTP/2, with all the credit there is
    SlowHttp2,
    /// never acknowledge the server's settings
    Unacknowledged,
    /// begin streams of `tidegate lab origin` one after another and cancel each at a random point
    Cancel,
}

impl From<AttackArgument> for Attack {
    fn from(argument: AttackArgument) -> Self {
        match argument {
            AttackArgument::Unread => Self::Unread,
            AttackArgument::Zero => Self::Zero,
            AttackArgument::Hold => Self::Hold,
            AttackArgument::Bomb => Self::Bomb,
            AttackArgument::Slow => Self::Slow,
            AttackArgument::SlowHttp2 => Self::SlowHttp2,
            AttackArgument::Unacknowledged => Self::Unacknowledged,
            AttackArgument::Cancel => Self::Cancel,
        }
    }
}

/// Says `open` when as many as will be are there, and at the end what they saw, as JSON.
pub(crate) async fn attack(arguments: AttackArguments) -> Result<(), String> {
    let target = &arguments.target;
    let host = target.authority().map(|it| it.as_str()).filter(|_| target.scheme_str() == Some("http"));
    let address: SocketAddr = host.and_then(|host| host.parse().ok()).ok_or_else(|| {
        format!("`{target}` is not an address of this machine: write http://127.0.0.1:PORT/PATH")
    })?;
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let mut plan = Plan::new(address, path, arguments.connections, arguments.streams);
    plan.upload = arguments.upload;
    plan.from = arguments.from.map(|from| (from, 0).into());
    let mut crowd = open(arguments.attack.into(), &plan).await.map_err(|error| error.to_string())?;
    let all = async {
        while crowd.report().begun < u64::from(arguments.connections) {
            sleep(LOOK).await;
        }
    };
    // Some may wait in the backlog to the end.
    let _ = timeout(arguments.duration / 4, all).await;
    say("open");
    let _ = timeout(arguments.duration, crowd.ended()).await;
    say(&serde_json::to_string(&crowd.report()).map_err(|error| error.to_string())?);
    Ok(())
}
