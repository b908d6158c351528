// SPDX-License-Identifier: GPL-2.0
//! The program as a service manager has it.

use nfsd_ha::files::Directory;
use nfsd_ha::statd::Report;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// nfsd-had without a server, which says every tenth of a second that it goes on.
struct Daemon {
    process: Child,
    manager: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// `pipefs` is within a directory of its own.
    fn start(pipefs: impl AsRef<Path>) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), pipefs)
    }

    /// In this directory, `control` has the module's files, and `config` is its configuration.
    fn start_in(directory: tempfile::TempDir, pipefs: impl AsRef<Path>) -> Self {
        let config = directory.path().join("config");
        File::options()
            .append(true)
            .create(true)
            .open(&config)
            .unwrap();
        let socket = directory.path().join("manager");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_nfsd-had"))
            .arg("--config")
            .arg(config)
            .arg("--records")
            .arg(directory.path().join("records.sqlite"))
            .arg("--pipefs")
            .arg(directory.path().join(pipefs))
            .env("NOTIFY_SOCKET", socket)
            .env("NFSD_HA_CONTROL", directory.path().join("control"))
            .env("NFSD_HA_RUN", directory.path().join("run"))
            .env("WATCHDOG_USEC", "200000")
            .env_remove("WATCHDOG_PID")
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self {
            process,
            manager,
            directory,
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

    /// It goes round its loop some times, more often than it may have said before now.
    fn goes_on(&self) {
        for _ in 0..5 {
            assert_eq!(self.hears(), "WATCHDOG=1");
        }
    }

    /// What it has said.
    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
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
        let mut daemon = Daemon::start("");
        daemon.send(Signal::SIGHUP);
        daemon.goes_on();
        daemon.send(end);
        assert!(daemon.process.wait().unwrap().success());
    }
}

#[test]
fn what_cannot_be_watched_is_said_once() {
    // A name that none can have fails as a machine does that has no instance of inotify left.
    let daemon = Daemon::start("x".repeat(300));
    daemon.goes_on();
    let said = daemon.said();
    assert_eq!(said.matches("cannot be watched").count(), 1, "{said}");
    daemon.goes_on();
    assert_eq!(daemon.said(), said);
}

/// A directory with files as the module has them, in which nobody has come.
fn module() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("control");
    fs::create_dir(&control).unwrap();
    for (name, text) in [
        ("reclaim_clients", ""),
        ("floating_addresses", ""),
        ("nlm_clients", "sequence 0\n"),
    ] {
        fs::write(control.join(name), text).unwrap();
    }
    directory
}

#[test]
fn without_the_module_there_is_nothing_to_say() {
    let daemon = Daemon::start("");
    daemon.goes_on();
    let said = daemon.said();
    assert!(
        !said.contains("NLM") && !said.contains("connections"),
        "{said}"
    );
    assert!(!daemon.directory.path().join("run").exists());
}

#[test]
fn another_recorder_is_said_once_and_waited_for() {
    let directory = module();
    let run = Directory::make(directory.path().join("run")).unwrap();
    let other = Report::only_one(&run).unwrap().unwrap();
    let daemon = Daemon::start_in(directory, "");
    let said = || daemon.said().matches("another recorder is running").count();
    assert_eq!(said(), 1, "{}", daemon.said());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        daemon.goes_on();
    }
    assert_eq!(said(), 1, "{}", daemon.said());
    // This file answers a recorder as no module does; so it is seen that there is one now.
    drop(other);
    while !daemon.said().contains("nlm_clients says") {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            daemon.said()
        );
        daemon.goes_on();
    }
    // It lets go of it.
    assert!(Report::only_one(&run).unwrap().is_some());
}

#[test]
fn clients_of_nlm_can_be_left_to_another_recorder() {
    let directory = module();
    fs::write(directory.path().join("config"), "[records]\nnlm = false\n").unwrap();
    let run = Directory::make(directory.path().join("run")).unwrap();
    let _other = Report::only_one(&run).unwrap().unwrap();
    let daemon = Daemon::start_in(directory, "");
    daemon.goes_on();
    assert!(!daemon.said().contains("NLM"), "{}", daemon.said());
}
