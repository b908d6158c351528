// SPDX-License-Identifier: GPL-2.0
//! What a service manager is told (sd_notify(3)), and how it ends a daemon.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells the service manager something, such as `READY=1`, if there is one that wants to know. Fails if it does not listen, and
/// does not wait for that.
pub fn notify(what: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(what.as_bytes(), &address).map(drop)
}

/// How often the service manager wants to hear `WATCHDOG=1` at least, if it does.
pub fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let time = Duration::from_micros(number("WATCHDOG_USEC")?);
    (for_us && !time.is_zero()).then_some(time)
}

/// A file that is readable after a signal that ends a daemon. The signals do nothing else from now on, and SIGHUP does
/// nothing: who sends it wants a daemon to read its configuration anew, or closes a terminal, and not that it ends.
pub fn end_signals() -> nix::Result<SignalFd> {
    let ours = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    let mut blocked = ours;
    blocked.add(Signal::SIGHUP);
    blocked.thread_block()?;
    SignalFd::new(&ours)
}
