//! Finds out which program already listens at an address that a job needs.

use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Value of our servers' `Server` header.
pub const SERVER: &str = "sluicebox";
/// Timeout of the query.
const PATIENCE: Duration = Duration::from_millis(500);
const MOST_BYTES: u64 = 64 << 10;

#[derive(Deserialize)]
struct Health {
    job: String,
    pid: u32,
    state: Option<String>,
}

/// Returns the reason why `address` cannot be used, and a remedy.
pub fn by(address: SocketAddr) -> String {
    let elsewhere = SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(7878));
    let who = ask(address).unwrap_or_else(|| "another program".into());
    format!(
        "the address is in use by {who}; use another port (--listen {elsewhere}), or let the system choose one \
         (--listen {})",
        SocketAddr::new(address.ip(), 0)
    )
}

/// Returns the job that listens there; none where it is not one of ours. Sends no token, since an
/// unknown program might receive it.
fn ask(address: SocketAddr) -> Option<String> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    let agent: ureq::Agent = agent.max_redirects(0).proxy(None).build().into();
    let mut answer =
        agent.get(format!("http://{}/healthz", SocketAddr::new(ip, address.port()))).call().ok()?;
    if answer.headers().get("server").is_none_or(|server| server != SERVER) {
        return None;
    }
    let health = answer.body_mut().with_config().limit(MOST_BYTES).read_to_string().ok()?;
    let Ok(Health { job, pid, state }) = serde_json::from_str(&health) else {
        return Some("another Sluicebox job, which needs a token".into());
    };
    let job: String = job.chars().filter(|letter| !letter.is_control()).take(64).collect();
    Some(match state {
        Some(state) => format!("the job `{job}` (process {pid}, state in {})", state.escape_debug()),
        None => format!("the job `{job}` (process {pid})"),
    })
}
