// SPDX-License-Identifier: GPL-2.0
//! A client: what it knows of its state on the server, its requests, and what answers change.

use crate::names::Names;
use crate::nlm;
use crate::ops::{number, Compound, Results, SessionId, Stateid, COMPOUND};
use crate::problem::Problem;
use crate::rpc::Procedure;
use crate::steps::Call;
use crate::xdr::Reader;
use std::sync::Arc;

/// What all clients of a connection share.
pub struct Context {
    /// The clients' names.
    pub names: Arc<Names>,
    /// The verifier of all clients (RFC 8881, 2.4).
    pub verifier: [u8; 8],
    /// The path of the directory for the files, below the root of the pseudo file system.
    pub path: Vec<String>,
    /// That directory's handle, once a client has asked for it.
    pub directory: Option<Box<[u8]>>,
    /// That directory's handle in NFSv3, for `nlm-loop`.
    pub v3_directory: Vec<u8>,
    /// Is the server to keep its answers, in case that they get lost?
    pub cache: bool,
    /// The server's lease time in seconds, once a client has asked for it.
    pub lease: Option<u32>,
}

/// A file that a client has open.
struct Open {
    handle: Box<[u8]>,
    stateid: Stateid,
    lock: Option<Stateid>,
    locked: bool,
}

/// A client.
pub struct Client {
    /// Its number, which is also that of its name.
    pub number: u32,
    /// It has failed in a step, and does no more.
    pub failed: bool,
    /// RECLAIM_COMPLETE is done.
    completed: bool,
    /// EXCHANGE_ID's `eir_sequenceid`, then the number of the last request in the session.
    sequence: u32,
    clientid: u64,
    session: SessionId,
    open: Option<Box<Open>>,
}

impl Client {
    /// A client that the server does not know yet.
    pub fn new(number: u32) -> Self {
        Self {
            number,
            failed: false,
            completed: false,
            sequence: 0,
            clientid: 0,
            session: [0; 16],
            open: None,
        }
    }

    /// The procedure that a call is.
    pub fn procedure(call: Call) -> Procedure {
        match call {
            Call::V3Create => nlm::V3_CREATE,
            Call::NlmLock => nlm::LOCK,
            Call::NlmUnlock => nlm::UNLOCK,
            _ => COMPOUND,
        }
    }

    /// What to do when the server has forgotten the client, in the order to do it.
    pub fn recovery(&self) -> Vec<Call> {
        let mut calls = vec![Call::ExchangeId, Call::CreateSession];
        if let Some(open) = &self.open {
            calls.push(Call::ReclaimOpen);
            calls.extend(open.locked.then_some(Call::ReclaimLock));
        }
        calls.extend(self.completed.then_some(Call::Complete));
        calls
    }

    /// The arguments of a call.
    pub fn encode(&self, call: Call, cx: &Context, out: &mut Vec<u8>) {
        match call {
            Call::V3Create => {
                return nlm::create(out, &cx.v3_directory, &cx.names.file(self.number));
            }
            Call::NlmLock | Call::NlmUnlock => {
                let handle = self.open.as_ref().map_or(&[][..], |open| &open.handle);
                let name = cx.names.owner(self.number);
                return nlm::lock(out, call == Call::NlmLock, &name, self.number, handle);
            }
            _ => {}
        }
        let mut compound = Compound::new(out);
        match call {
            Call::ExchangeId => {
                compound.exchange_id(&cx.verifier, cx.names.owner(self.number).as_bytes());
            }
            Call::CreateSession => compound.create_session(self.clientid, self.sequence),
            Call::DestroySession => compound.destroy_session(&self.session),
            Call::DestroyClientid => compound.destroy_clientid(self.clientid),
            _ => {
                compound.sequence(&self.session, self.sequence.wrapping_add(1), cx.cache);
                self.encode_in_session(call, cx, &mut compound);
            }
        }
        compound.end();
    }

    fn encode_in_session(&self, call: Call, cx: &Context, compound: &mut Compound) {
        let name = || cx.names.file(self.number);
        match call {
            Call::Complete => compound.reclaim_complete(),
            Call::LeaseTime => {
                compound.putrootfh();
                compound.get_lease_time();
            }
            Call::Open => {
                enter_directory(cx, compound);
                compound.open_create(self.clientid, name().as_bytes());
                compound.getfh();
            }
            Call::ReclaimOpen => {
                enter_directory(cx, compound);
                compound.lookup(name().as_bytes());
                compound.open_reclaim(self.clientid);
                compound.getfh();
            }
            _ => {
                let Some(open) = &self.open else {
                    return; // SEQUENCE alone
                };
                if call != Call::Renew {
                    compound.putfh(&open.handle);
                }
                match (call, &open.lock) {
                    (Call::Lock, Some(lock)) => compound.lock_more(lock),
                    (Call::Lock, None) => compound.lock_new(self.clientid, &open.stateid, false),
                    (Call::ReclaimLock, _) => {
                        compound.lock_new(self.clientid, &open.stateid, true);
                    }
                    (Call::Unlock, Some(lock)) => compound.unlock(lock),
                    (Call::Close, _) => compound.close(&open.stateid),
                    (Call::Write, _) => compound.write(&open.stateid, &[b'.'; 64]),
                    (Call::Read, _) => compound.read(&open.stateid, 64),
                    _ => {}
                }
            }
        }
    }

    /// Takes the answer to a call.
    pub fn decode(&mut self, call: Call, cx: &mut Context, reader: Reader) -> Result<(), Problem> {
        match call {
            Call::V3Create => {
                self.open = Some(Box::new(Open {
                    handle: nlm::created(reader)?.into(),
                    stateid: [0; 16],
                    lock: None,
                    locked: false,
                }));
                return Ok(());
            }
            Call::NlmLock | Call::NlmUnlock => return nlm::result(reader),
            _ => {}
        }
        let mut results = Results::new(reader)?;
        match call {
            Call::ExchangeId => {
                results.op(number::EXCHANGE_ID)?;
                self.clientid = results.reader.hyper()?;
                self.sequence = results.reader.uint()?;
            }
            Call::CreateSession => {
                results.op(number::CREATE_SESSION)?;
                self.session = results.reader.array()?;
                self.sequence = 0;
            }
            Call::DestroySession => results.op(number::DESTROY_SESSION)?,
            Call::DestroyClientid => {
                results.op(number::DESTROY_CLIENTID)?;
                *self = Self::new(self.number);
            }
            _ => {
                results.sequence()?;
                self.sequence = self.sequence.wrapping_add(1);
                self.decode_in_session(call, cx, &mut results)?;
            }
        }
        Ok(())
    }

    fn decode_in_session(
        &mut self,
        call: Call,
        cx: &mut Context,
        results: &mut Results,
    ) -> Result<(), Problem> {
        match (call, &mut self.open) {
            (Call::Complete, _) => {
                results
                    .op(number::RECLAIM_COMPLETE)
                    .inspect_err(|&problem| {
                        self.completed |= problem == Problem::COMPLETE_ALREADY;
                    })?;
                self.completed = true;
            }
            (Call::LeaseTime, _) => {
                results.op(number::PUTROOTFH)?;
                results.op(number::GETATTR)?;
                results.reader.skip_words()?;
                cx.lease = Some(Reader(results.reader.opaque()?).uint()?);
            }
            (Call::Open | Call::ReclaimOpen, open) => {
                directory_entered(cx, results)?;
                if call == Call::ReclaimOpen {
                    results.op(number::LOOKUP)?;
                }
                let stateid = results.open()?;
                let handle = results.getfh()?.into();
                *open = Some(Box::new(Open {
                    handle,
                    stateid,
                    lock: None,
                    locked: false,
                }));
            }
            (Call::Lock | Call::ReclaimLock, Some(open)) => {
                results.op(number::PUTFH)?;
                open.lock = Some(results.stateid(number::LOCK)?);
                open.locked = true;
            }
            (Call::Unlock, Some(open)) => {
                results.op(number::PUTFH)?;
                open.lock = Some(results.stateid(number::LOCKU)?);
                open.locked = false;
            }
            (Call::Close, open) => {
                results.op(number::PUTFH)?;
                results.op(number::CLOSE)?;
                *open = None;
            }
            (Call::Write, _) => {
                results.op(number::PUTFH)?;
                results.op(number::WRITE)?;
            }
            (Call::Read, _) => {
                results.op(number::PUTFH)?;
                results.op(number::READ)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Makes the directory the current file: by its handle, or else by its path.
fn enter_directory(cx: &Context, compound: &mut Compound) {
    match &cx.directory {
        Some(handle) => compound.putfh(handle),
        None => {
            compound.putrootfh();
            for name in &cx.path {
                compound.lookup(name.as_bytes());
            }
            compound.getfh();
        }
    }
}

/// Reads the results of that, and remembers the handle.
fn directory_entered(cx: &mut Context, results: &mut Results) -> Result<(), Problem> {
    if results.any_op()? == number::PUTROOTFH {
        for _ in &cx.path {
            results.op(number::LOOKUP)?;
        }
        cx.directory = Some(results.getfh()?.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::Put;

    fn context() -> Context {
        Context {
            names: Arc::new(Names::numbered("c".into(), 0)),
            verifier: [1; 8],
            path: vec!["a".into()],
            directory: None,
            v3_directory: Vec::new(),
            cache: false,
            lease: None,
        }
    }

    fn answer(status: u32, count: u32) -> Vec<u8> {
        let mut data = Vec::new();
        data.uint(status).uint(0).uint(count);
        data
    }

    fn in_session(status: u32, count: u32) -> Vec<u8> {
        let mut data = answer(status, count);
        data.uint(number::SEQUENCE).uint(0).fixed(&[0; 36]);
        data
    }

    fn put_open(data: &mut Vec<u8>) {
        data.uint(number::OPEN)
            .uint(0)
            .fixed(&[9; 16])
            .fixed(&[0; 24])
            .uint(2)
            .hyper(0);
        data.uint(3)
            .uint(0)
            .uint(number::GETFH)
            .uint(0)
            .opaque(b"file");
    }

    #[test]
    fn a_session_begins_with_the_sequence_that_the_server_says() {
        let (mut cx, mut client) = (context(), Client::new(3));
        let mut data = answer(0, 1);
        data.uint(number::EXCHANGE_ID).uint(0).hyper(77).uint(5);
        assert_eq!(
            client.decode(Call::ExchangeId, &mut cx, Reader(&data)),
            Ok(())
        );
        let mut out = Vec::new();
        client.encode(Call::CreateSession, &cx, &mut out);
        assert_eq!(out[16..28], *b"\0\0\0\0\0\0\0\x4d\0\0\0\x05");
        let mut data = answer(0, 1);
        data.uint(number::CREATE_SESSION).uint(0).fixed(&[6; 16]);
        assert_eq!(
            client.decode(Call::CreateSession, &mut cx, Reader(&data)),
            Ok(())
        );
        let mut out = Vec::new();
        client.encode(Call::Renew, &cx, &mut out);
        assert_eq!(out[8..16], *b"\0\0\0\x01\0\0\0\x35");
        assert_eq!(out[16..36], [&[6; 16][..], &[0, 0, 0, 1]].concat());
    }

    #[test]
    fn only_a_sequence_that_succeeded_counts() {
        let (mut cx, mut client) = (context(), Client::new(3));
        let mut data = answer(10008, 1);
        data.uint(number::SEQUENCE).uint(10008);
        assert_eq!(
            client.decode(Call::Renew, &mut cx, Reader(&data)),
            Err(Problem::DELAY)
        );
        assert_eq!(client.sequence, 0);
        let mut data = in_session(10013, 2);
        data.uint(number::PUTFH).uint(10013);
        assert_eq!(
            client.decode(Call::Open, &mut cx, Reader(&data)),
            Err(Problem::GRACE)
        );
        assert_eq!(client.sequence, 1);
    }

    #[test]
    fn the_directory_is_looked_up_once() {
        let (mut cx, mut client) = (context(), Client::new(3));
        let mut data = in_session(0, 6);
        data.uint(number::PUTROOTFH)
            .uint(0)
            .uint(number::LOOKUP)
            .uint(0);
        data.uint(number::GETFH).uint(0).opaque(b"directory");
        put_open(&mut data);
        assert_eq!(client.decode(Call::Open, &mut cx, Reader(&data)), Ok(()));
        assert_eq!(cx.directory.as_deref(), Some(&b"directory"[..]));
        let mut data = in_session(0, 4);
        data.uint(number::PUTFH).uint(0);
        put_open(&mut data);
        assert_eq!(client.decode(Call::Open, &mut cx, Reader(&data)), Ok(()));
        assert_eq!(client.open.as_ref().map(|open| open.stateid), Some([9; 16]));
        assert_eq!(
            client.recovery(),
            [Call::ExchangeId, Call::CreateSession, Call::ReclaimOpen]
        );
    }
}
