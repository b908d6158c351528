// SPDX-License-Identifier: GPL-2.0

//! A daemon that keeps records: nfsdcld, or nfsd-had.

use crate::base::clock::since_1970;
use crate::explore::{below, one_in};
use crate::law::Truth;
use crate::nfs4::nfsd::NfsdNet;
use crate::stores::{Asked, Export, Store, Told, NFS4};
use crate::tracking::channel::Channel;
use crate::tracking::cld::{Command, Version};
use crate::tracking::pipe::File;
use shuttle::thread;
use std::sync::{Arc, Mutex};

const GET_VERSION: u8 = Command::GetVersion as u8;
const GRACE_DONE: u8 = Command::GraceDone as u8;
const GRACE_START: u8 = Command::GraceStart as u8;

/// What it has on its disk.
pub(crate) struct Records {
    pub(crate) store: Store,
    /// What clients hold in truth.
    pub(crate) truth: Truth,
    /// How often GraceStart came.
    pub(crate) starts: u32,
    /// Another one has come: until it was told, it does not have who was on record.
    pub(crate) changed: bool,
    /// An admin has put this in its place.
    next: Option<Store>,
    /// It has the pipe open, for this number of times so far.
    pub(crate) present: Option<u32>,
    openings: u32,
    over: bool,
}

impl Records {
    pub(crate) fn new(store: Store) -> Self {
        Records {
            store,
            truth: Truth::default(),
            starts: 0,
            changed: false,
            next: None,
            present: None,
            openings: 0,
            over: false,
        }
    }
}

impl Records {
    /// Does what an upcall says.
    fn perform(&mut self, asked: &Asked) -> Told {
        self.starts += u32::from(asked.command == GRACE_START);
        let told = self.store.perform(asked, since_1970());
        if asked.command == GRACE_START {
            self.truth.hear();
        }
        if asked.command == GRACE_DONE && self.store.is_settled() {
            self.truth.end_grace(NFS4);
        }
        self.truth.keep(&self.store.names());
        self.truth.check(&self.store);
        told
    }

    /// What clients hold changes.
    pub(crate) fn hold(&mut self, change: impl FnOnce(&mut Truth)) {
        change(&mut self.truth);
        self.truth.check(&self.store);
    }

    fn open(&mut self) {
        self.openings += 1;
        self.present = Some(self.openings);
    }
}

pub(crate) type Database = Arc<Mutex<Records>>;

/// The daemon, which may die and be started again, and fail, so often.
pub(crate) struct Recorder {
    pub(crate) nn: Arc<NfsdNet>,
    pub(crate) database: Database,
    pub(crate) deaths: u32,
    pub(crate) failures: u32,
    /// How often an admin puts another one in the place of nfsd-had.
    pub(crate) changes: u32,
}

impl Recorder {
    pub(crate) fn spawn(mut self) -> thread::JoinHandle<()> {
        thread::spawn(move || while self.live() {})
    }

    fn is_over(&self) -> bool {
        self.database.lock().unwrap().over
    }

    fn is_to_go(&self) -> bool {
        let records = self.database.lock().unwrap();
        records.over || records.next.is_some()
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
        self.database.lock().unwrap().open();
        while file.poll(|| self.is_to_go()) {
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
                answer(&file, &message, -28);
                continue;
            }
            self.serve(&file, message);
            // With nothing on its way.
            if one_in(8) && self.deaths > 0 {
                self.deaths -= 1;
                break;
            }
        }
        self.database.lock().unwrap().present = None;
        file.close();
        self.change();
        !self.is_over()
    }

    /// nfsd-had is gone; another one may come with a store of its own.
    fn change(&mut self) {
        let mut records = self.database.lock().unwrap();
        if let Some(next) = records.next.take() {
            records.changed = true;
            records.store = next;
        } else if self.changes > 0 && records.store.epoch().is_some() && !records.over {
            self.changes -= 1;
            records.changed = true;
            records.store = Store::another();
        }
    }

    /// Does what a message asks for, and answers.
    fn serve(&self, file: &File<Channel>, mut message: Vec<u8>) {
        let told = self.perform(&message);
        if message[0] == Version::V3 as u8 {
            let header = message[..8].to_vec();
            for some in told.clients.chunks(2) {
                let mut record = header.clone();
                for (name, holds) in some {
                    push(&mut record, 1, name);
                    if let Some(holds) = holds {
                        push(&mut record, 10, &holds.to_ne_bytes());
                    }
                }
                answer(file, &record, -115);
            }
            for ((fsid, file_system), holders) in &told.exports {
                let mut record = header.clone();
                push(&mut record, 6, fsid.as_bytes());
                push(&mut record, 7, file_system);
                push(&mut record, 9, &holders.to_ne_bytes());
                answer(file, &record, -115);
            }
            message = header;
            if message[1] == GRACE_START {
                let epoch = self.database.lock().unwrap().store.epoch();
                let epoch = epoch.expect("it speaks version 3");
                push(&mut message, 5, &epoch.to_ne_bytes());
                if told.known {
                    push(&mut message, 11, &[]);
                }
            }
            return answer(file, &message, 0);
        }
        for (name, _) in told.clients {
            let mut record = message.clone();
            record[8..10].copy_from_slice(&(name.len() as u16).to_ne_bytes());
            record[10..10 + name.len()].copy_from_slice(&name);
            answer(file, &record, -115);
        }
        if message[1] == GET_VERSION {
            assert_eq!(&message[9..17], b"nfsd-ha?");
            match self.database.lock().unwrap().store.epoch() {
                Some(epoch) => {
                    message[8] = 3;
                    message[9..17].copy_from_slice(b"nfsd-ha!");
                    message[17..33].copy_from_slice(&epoch.to_ne_bytes());
                }
                None => message[8] = 1 + below(2) as u8,
            }
        }
        answer(file, &message, 0);
    }

    fn perform(&self, message: &[u8]) -> Told {
        let asked = read(message);
        let mut records = self.database.lock().unwrap();
        let is_had = records.store.epoch().is_some();
        assert!(
            is_had == (message[0] == 3) || asked.command == GET_VERSION,
            "one does not know the version of the other: {is_had} {message:?}"
        );
        records.perform(&asked)
    }
}

/// What a message says.
fn read(message: &[u8]) -> Asked {
    let mut asked = Asked {
        command: message[1],
        ..Asked::default()
    };
    if message[0] < 3 {
        let fixed = [Version::V1, Version::V2].map(Version::message_len);
        assert!(fixed.contains(&Some(message.len())));
        if asked.command != GET_VERSION {
            let len = usize::from(u16::from_ne_bytes([message[8], message[9]]));
            asked.name = message[10..10 + len].to_vec();
        }
        return asked;
    }
    let mut rest = &message[8..];
    let (mut fsid, mut file_system) = (None, [0; 16]);
    while let [t0, t1, l0, l1, behind @ ..] = rest {
        let len = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = &behind[..len];
        match u16::from_ne_bytes([*t0, *t1]) {
            1 => asked.name = value.to_vec(),
            5 => asked.epoch = Some(u128::from_ne_bytes(value.try_into().unwrap())),
            6 => fsid = Some(String::from_utf8(value.to_vec()).unwrap()),
            7 => file_system = value.try_into().unwrap(),
            8 => asked.until = Some(u64::from_ne_bytes(value.try_into().unwrap())),
            _ => {}
        }
        rest = &behind[len..];
    }
    asked.export = fsid.map(|fsid| -> Export { (fsid, file_system) });
    asked
}

fn push(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_ne_bytes());
    message.extend((value.len() as u16).to_ne_bytes());
    message.extend(value);
}

/// One that comes too late is refused, which nfsdcld does not look at.
fn answer(file: &File<Channel>, message: &[u8], status: i16) {
    let mut message = message.to_vec();
    message[2..4].copy_from_slice(&status.to_ne_bytes());
    let _ = file.write(&message);
}

/// Has another daemon come in the place of nfsd-had, which knows nobody.
pub(crate) fn replace(database: &Database, nn: &NfsdNet) {
    let mut records = database.lock().unwrap();
    let is_had = records.store.epoch().is_some();
    records.next = is_had.then(Store::another);
    drop(records);
    if let Some(inode) = nn.cld() {
        File::wake(&inode);
    }
}

/// Has the daemon end when there is nothing to do, and not be started again.
pub(crate) fn end(database: &Database, nn: &NfsdNet) {
    database.lock().unwrap().over = true;
    if let Some(inode) = nn.cld() {
        File::wake(&inode);
    }
}
