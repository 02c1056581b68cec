//! The address at which the demo's page is served.

use sluicebox_core::error::{Error, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

/// Ports that are tried, from the usual one on.
const TRIED: u16 = 100;

/// Returns the address `wanted`, with a port of its own if it asks for port 0; else the first free port from that of
/// `usual` on. An address that is wanted and taken is for the job to refuse: it says by whom.
pub fn choose(wanted: Option<&str>, usual: &str) -> Result<SocketAddr> {
    let named = wanted.unwrap_or(usual);
    let resolved = named.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = resolved.ok_or_else(|| {
        Error::Request(format!("--listen {named}: expected an address and a port, such as {usual}"))
    })?;
    let free = |port: u16| TcpListener::bind((address.ip(), port)).and_then(|listener| listener.local_addr());
    if wanted.is_some() {
        return Ok(free(address.port()).unwrap_or(address));
    }
    let last = address.port().saturating_add(TRIED - 1);
    (address.port()..=last).find_map(|port| free(port).ok()).ok_or_else(|| {
        let (host, first) = (address.ip(), address.port());
        Error::Request(format!(
            "no port of {host} from {first} to {last} is free; name one: --listen {host}:PORT"
        ))
    })
}

/// Returns where a client on this machine reaches the address.
pub fn to_ask(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_unless_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let usual = taken.local_addr().unwrap();
        let chosen = choose(None, &usual.to_string()).unwrap();
        assert!(chosen.ip() == usual.ip() && chosen.port() > usual.port(), "{chosen} instead of {usual}");
        assert_eq!(choose(Some(&usual.to_string()), "127.0.0.1:7878").unwrap(), usual);
        assert_ne!(choose(Some("127.0.0.1:0"), "127.0.0.1:7878").unwrap().port(), 0);
        assert!(
            choose(Some("7878"), "127.0.0.1:7878")
                .unwrap_err()
                .to_string()
                .contains("such as 127.0.0.1:7878")
        );
    }

    #[test]
    fn a_client_reaches_what_listens_everywhere() {
        assert_eq!(to_ask("0.0.0.0:7".parse().unwrap()), "127.0.0.1:7".parse().unwrap());
        assert_eq!(to_ask("[::]:7".parse().unwrap()), "[::1]:7".parse().unwrap());
        assert_eq!(to_ask("10.1.2.3:7".parse().unwrap()), "10.1.2.3:7".parse().unwrap());
    }
}
