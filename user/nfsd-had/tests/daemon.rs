// SPDX-License-Identifier: GPL-2.0
//! The program as a service manager has it.

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::time::Duration;

/// nfsd-had without a server, which says every tenth of a second that it goes on.
struct Daemon {
    process: Child,
    manager: UnixDatagram,
    _directory: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("manager");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_nfsd-had"))
            .arg("--records")
            .arg(directory.path().join("records.sqlite"))
            .arg("--pipefs")
            .arg(directory.path())
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", "200000")
            .env_remove("WATCHDOG_PID")
            .spawn()
            .unwrap();
        let daemon = Self {
            process,
            manager,
            _directory: directory,
        };
        assert_eq!(daemon.hears(), "READY=1");
        daemon
    }

    /// What it tells the service manager next.
    fn hears(&self) -> String {
        let mut bytes = [0; 100];
        let length = self.manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into()
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended, unless a test fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_ends_when_it_is_told_to_and_not_by_a_hangup() {
    for end in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start();
        daemon.send(Signal::SIGHUP);
        // More than it may have said before it had the signal.
        for _ in 0..5 {
            assert_eq!(daemon.hears(), "WATCHDOG=1");
        }
        daemon.send(end);
        assert!(daemon.process.wait().unwrap().success());
    }
}
