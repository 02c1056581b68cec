//! A relay between process 0 and another one that changes what goes through it.

use crate::cluster::free_port;
use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Number of a frame's kind, as it is on the wire.
pub mod kind {
    pub const LEARN: u8 = 4;
    pub const SUM: u8 = 7;
}

/// Changes a frame's body, of which it knows the kind.
pub type Change = fn(u8, &mut [u8]);

/// Starts a relay to process 0 at `head`; returns the address at which it takes one connection. `down` changes frames from process
/// 0, `up` those to it.
pub fn start(head: &str, down: Change, up: Change) -> String {
    let address = format!("127.0.0.1:{}", free_port());
    let (listener, head) = (TcpListener::bind(&address).unwrap(), head.to_string());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(other) = TcpStream::connect(&head) else { continue };
            let (from, to) = (stream.try_clone().unwrap(), other.try_clone().unwrap());
            thread::spawn(move || pump(from, to, up));
            thread::spawn(move || pump(other, stream, down));
        }
    });
    address
}

fn pump(mut from: TcpStream, mut to: TcpStream, change: Change) {
    let mut relay = || -> Result<()> {
        // The first line, and two records.
        let mut first = [0; 20];
        from.read_exact(&mut first)?;
        to.write_all(&first)?;
        for _ in 0..2 {
            let mut length = [0; 4];
            from.read_exact(&mut length)?;
            let mut record = vec![0; u32::from_le_bytes(length) as usize];
            from.read_exact(&mut record)?;
            to.write_all(&[&length[..], &record].concat())?;
        }
        loop {
            let mut head = [0; 16];
            from.read_exact(&mut head)?;
            let mut body = vec![0; u64::from_le_bytes(head[..8].try_into().unwrap()) as usize];
            from.read_exact(&mut body)?;
            change(head[14], &mut body);
            to.write_all(&[&head[..], &body].concat())?;
        }
    };
    let _ = relay();
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}
