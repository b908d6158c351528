// SPDX-License-Identifier: GPL-2.0

//! A daemon that keeps records as nfsdcld does (`utils/nfsdcld/sqlite.c` of nfs-utils).

use crate::explore::{below, one_in};
use crate::nfs4::nfsd::NfsdNet;
use crate::tracking::channel::Channel;
use crate::tracking::cld::{Command, Version};
use crate::tracking::pipe::File;
use shuttle::thread;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

type Names = BTreeSet<Vec<u8>>;

/// Its database.
#[derive(Default)]
pub(crate) struct Records {
    /// Of the current epoch.
    pub(crate) current: Names,
    /// Of the epoch before, while there is a grace period.
    pub(crate) recovery: Option<Names>,
    /// How often GraceStart came.
    pub(crate) starts: u32,
    over: bool,
}

pub(crate) type Database = Arc<Mutex<Records>>;

impl Records {
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.current.contains(name) || self.recovery.as_ref().is_some_and(|r| r.contains(name))
    }

    /// Does what an upcall says. Returns the records to send.
    fn perform(&mut self, command: u8, name: &[u8]) -> Names {
        match command {
            c if c == Command::Create as u8 => drop(self.current.insert(name.to_vec())),
            c if c == Command::Remove as u8 => drop(self.current.remove(name)),
            c if c == Command::GraceDone as u8 => {
                let old = self.recovery.take();
                assert!(old.is_some(), "GraceDone twice: all records are lost");
            }
            c if c == Command::GraceStart as u8 => {
                self.starts += 1;
                let current = std::mem::take(&mut self.current);
                return self.recovery.get_or_insert(current).clone();
            }
            _ => {}
        }
        Names::new()
    }
}

/// The daemon, which may die and be started again, and fail, so often.
pub(crate) struct Nfsdcld {
    pub(crate) nn: Arc<NfsdNet>,
    pub(crate) database: Database,
    pub(crate) deaths: u32,
    pub(crate) failures: u32,
}

impl Nfsdcld {
    pub(crate) fn spawn(mut self) -> thread::JoinHandle<()> {
        thread::spawn(move || while self.live() {})
    }

    fn is_over(&self) -> bool {
        self.database.lock().unwrap().over
    }

    /// Serves until it dies. Returns whether it is started again.
    fn live(&mut self) -> bool {
        let Some(inode) = self.nn.cld() else {
            // The server has not started yet, or has stopped.
            thread::yield_now();
            return !self.is_over();
        };
        let Ok(mut file) = File::open(inode) else {
            return !self.is_over();
        };
        while file.poll(|| self.is_over()) {
            let mut message = Vec::new();
            if !matches!(file.read(usize::MAX, &mut message), Ok(Some(true))) {
                // Its sender was quicker to take it back.
                continue;
            }
            if one_in(4) && self.deaths > 0 {
                self.deaths -= 1;
                // With its work done, and not said so, or not even that.
                if one_in(2) {
                    self.perform(&message);
                }
                break;
            }
            if one_in(4) && self.failures > 0 {
                self.failures -= 1;
                answer(&file, &mut message, -28);
                continue;
            }
            for name in self.perform(&message) {
                let mut record = message.clone();
                record[8..10].copy_from_slice(&(name.len() as u16).to_ne_bytes());
                record[10..10 + name.len()].copy_from_slice(&name);
                answer(&file, &mut record, -115);
            }
            if message[1] == Command::GetVersion as u8 {
                message[8] = 1 + below(2) as u8;
            }
            answer(&file, &mut message, 0);
        }
        file.close();
        !self.is_over()
    }

    fn perform(&self, message: &[u8]) -> Names {
        assert!([Version::V1, Version::V2]
            .map(Version::message_len)
            .contains(&message.len()));
        let len = usize::from(u16::from_ne_bytes([message[8], message[9]]));
        let name = &message[10..10 + len];
        self.database.lock().unwrap().perform(message[1], name)
    }
}

/// One that comes too late is refused, which nfsdcld does not look at.
fn answer(file: &File<Channel>, message: &mut [u8], status: i16) {
    message[2..4].copy_from_slice(&status.to_ne_bytes());
    let _ = file.write(message);
}

/// Has the daemon end when there is nothing to do, and not be started again.
pub(crate) fn end(database: &Database, nn: &NfsdNet) {
    database.lock().unwrap().over = true;
    if let Some(inode) = nn.cld() {
        File::wake(&inode);
    }
}
