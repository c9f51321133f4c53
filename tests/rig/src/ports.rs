//! Ports for processes that cannot tell which one they took.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below the ephemeral range, so that no outgoing connection takes the port between now and its use.
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;

static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A free loopback port, reserved against every other caller on this machine until this process ends.
///
/// # Errors
/// When the whole range is taken.
pub fn free_port() -> Result<u16> {
    let range = LAST - FIRST;
    // Processes start at different places, so that they seldom try the same port.
    let start = u16::try_from(std::process::id().wrapping_mul(7_919) % u32::from(range))?;
    for _ in 0..range {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + u16::try_from((u32::from(start) + u32::from(step)) % u32::from(range))?;
        if let Some(reservation) = reserve(port) {
            // The lock only guards a push: a poisoned one is as good.
            RESERVED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(reservation);
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {LAST}")
}

/// An abstract socket is a lock that the kernel releases with the process.
fn reserve(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("fiorino-port-{port}")).ok()?;
    let reservation = UnixListener::bind_addr(&name).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(reservation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports: Vec<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn a_port_in_use_is_not_given() {
        let port = free_port().unwrap();
        assert!(reserve(port).is_none(), "reserved by us");
    }
}
