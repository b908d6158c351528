// SPDX-License-Identifier: GPL-2.0
//! TCP connections from privileged ports, to wait for or to block on.

use crate::problem::Problem;
use crate::rpc::{begin_call, end_call, parse_reply, Procedure, Records};
use anyhow::{anyhow, bail, Context as _, Result};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{self, sockopt, AddressFamily, SockFlag, SockType, SockaddrStorage};
use nix::sys::time::TimeVal;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// As an error to be shown.
pub fn said(problem: Problem) -> anyhow::Error {
    anyhow!("the server answered {problem}")
}

/// Privileged ports that servers do not use much.
const PORTS: std::ops::RangeInclusive<u32> = 665..=1023;

/// Connects from a privileged port, which exports that are `secure` ask for; if there is none for
/// us, from any other.
pub fn connect(server: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end() - PORTS.start() + 1;
    for _ in PORTS {
        let port =
            PORTS.start() + (NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id()) % count;
        match connect_from(server, Some(port as u16), timeout) {
            Err(Errno::EADDRINUSE | Errno::EADDRNOTAVAIL) => {}
            Err(Errno::EACCES) => break,
            result => return result.map_err(io::Error::from),
        }
    }
    Ok(connect_from(server, None, timeout)?)
}

fn connect_from(
    server: SocketAddr,
    port: Option<u16>,
    timeout: Duration,
) -> Result<TcpStream, Errno> {
    let (family, any): (_, IpAddr) = match server {
        SocketAddr::V4(_) => (AddressFamily::Inet, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (AddressFamily::Inet6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // This also bounds connect().
    let time = TimeVal::new(timeout.as_secs().max(1) as i64, 0);
    socket::setsockopt(&fd, sockopt::SendTimeout, &time)?;
    socket::setsockopt(&fd, sockopt::ReceiveTimeout, &time)?;
    socket::setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    socket::setsockopt(&fd, sockopt::KeepAlive, &true)?;
    if let Some(port) = port {
        socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        socket::bind(
            fd.as_raw_fd(),
            &SockaddrStorage::from(SocketAddr::new(any, port)),
        )?;
    }
    socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(server))?;
    Ok(TcpStream::from(fd))
}

/// A connection that does not block: bytes to be sent, and records that have come.
pub struct Link {
    stream: TcpStream,
    /// What is to be sent.
    pub out: Vec<u8>,
    /// What has come.
    pub records: Records,
    buffer: Box<[u8]>,
}

impl Link {
    /// Connects.
    pub fn connect(server: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = connect(server, timeout)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            out: Vec::new(),
            records: Records::default(),
            buffer: vec![0; 1 << 16].into(),
        })
    }

    /// Connects again; what was to be sent and has come is forgotten.
    pub fn reconnect(&mut self, server: SocketAddr, timeout: Duration) -> io::Result<()> {
        self.stream = connect(server, timeout)?;
        self.stream.set_nonblocking(true)?;
        self.out.clear();
        self.records.clear();
        Ok(())
    }

    /// Sends as much as can be sent now.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(length) => sent += length,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.drain(..sent);
        Ok(())
    }

    /// Waits until something has come, or can be sent if there is something to be sent.
    pub fn wait(&self, time: Duration) -> io::Result<()> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, !self.out.is_empty());
        // Not too early: rather a little late.
        let time = (time.as_micros().div_ceil(1000)).min(10_000) as u16;
        match poll(
            &mut [PollFd::new(self.stream.as_fd(), events)],
            PollTimeout::from(time),
        ) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes what has come, if anything has.
    pub fn fill(&mut self) -> io::Result<()> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
                Ok(length) => {
                    self.records.feed(&self.buffer[..length]);
                    if length < self.buffer.len() {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// A connection for one call after the other.
pub struct Blocking {
    stream: TcpStream,
    xid: u32,
}

impl Blocking {
    /// Connects.
    pub fn connect(server: SocketAddr, timeout: Duration) -> Result<Self> {
        let stream =
            connect(server, timeout).with_context(|| format!("cannot connect to {server}"))?;
        Ok(Self {
            stream,
            xid: std::process::id(),
        })
    }

    /// Calls, and returns the results.
    pub fn call(
        &mut self,
        procedure: Procedure,
        arguments: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>> {
        self.xid = self.xid.wrapping_add(1);
        let mut out = Vec::new();
        let start = begin_call(&mut out, self.xid, procedure);
        arguments(&mut out);
        end_call(&mut out, start);
        self.stream.write_all(&out)?;
        let mut records = Records::default();
        let mut buffer = [0; 4096];
        loop {
            while let Some(record) = records.next() {
                if let Some((xid, results)) = parse_reply(record).map_err(said)? {
                    if xid == self.xid {
                        return Ok(results.map_err(said)?.0.to_vec());
                    }
                }
            }
            let length = self.stream.read(&mut buffer)?;
            if length == 0 {
                bail!("the server closed the connection");
            }
            records.feed(&buffer[..length]);
        }
    }
}
