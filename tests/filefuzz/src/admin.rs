// SPDX-License-Identifier: GPL-2.0
//! The admin who lets the server go on: ends grace periods and drains, and confirms what is to be recorded.

use crate::options::Options;
use crate::Shared;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

/// How long a scope may be in grace, and an address drain.
const PAUSE: Duration = Duration::from_millis(100);

fn open(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    options.open(path).ok()
}

/// Ends all that a file shows, whose lines begin with what `command` wants: grace periods or drains.
fn end_all(path: &Path, command: impl Fn(&str) -> String) {
    let lines = fs::read_to_string(path).unwrap_or_default();
    if let Some(mut file) = open(path).filter(|_| !lines.is_empty()) {
        for word in lines.lines().filter_map(|line| line.split(' ').next()) {
            // It may have ended meanwhile.
            let _ = file.write(command(word).as_bytes());
        }
    }
}

/// Says that all that `nlm_clients` shows is on stable storage.
fn record(mut clients: &File, shared: &Shared) {
    let mut first = [0; 64];
    // After a write that had no result, a read shows what there is.
    if let Ok(len) = clients.read_at(&mut first, 0) {
        let text = String::from_utf8_lossy(&first[..len]);
        let number = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("sequence "));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            shared.sequence.store(number, Ordering::Relaxed);
            let _ = clients.write(number.to_string().as_bytes());
        }
    }
}

/// Does so until nobody writes any more, and once again.
pub fn run(options: &Options, shared: &Shared) {
    let clients = open(&options.admin.join("nlm_clients"));
    let mut rounds = 0u32;
    loop {
        let last = !shared.is_busy();
        if let Some(clients) = &clients {
            record(clients, shared);
        }
        if last || rounds % 10 == 0 {
            end_all(&options.admin.join("fsid_grace"), |scope| {
                format!("{scope} 0")
            });
            end_all(&options.admin.join("drain"), |address| {
                format!("-{address}")
            });
        }
        if last {
            return;
        }
        rounds += 1;
        sleep(PAUSE / 10);
    }
}
