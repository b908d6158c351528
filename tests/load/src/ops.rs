// SPDX-License-Identifier: GPL-2.0
//! COMPOUND of NFSv4.1 (RFC 8881, 16.2) and the operations used here (section 18).

use crate::problem::Problem;
use crate::rpc::Procedure;
use crate::xdr::{Put, Reader};

/// NFSPROC4_COMPOUND.
pub const COMPOUND: Procedure = Procedure {
    program: 100003,
    version: 4,
    number: 1,
};
/// What names an open or a lock (RFC 8881, 8.2).
pub type Stateid = [u8; 16];
/// What names a session (RFC 8881, 2.10.3).
pub type SessionId = [u8; 16];

/// The range that is locked.
const RANGE: (u64, u64) = (0, 100);
const WRITE_LT: u32 = 2;

/// The numbers of the operations.
pub mod number {
    #![allow(missing_docs)]
    pub const CLOSE: u32 = 4;
    pub const GETATTR: u32 = 9;
    pub const GETFH: u32 = 10;
    pub const LOCK: u32 = 12;
    pub const LOCKU: u32 = 14;
    pub const LOOKUP: u32 = 15;
    pub const OPEN: u32 = 18;
    pub const PUTFH: u32 = 22;
    pub const PUTROOTFH: u32 = 24;
    pub const READ: u32 = 25;
    pub const WRITE: u32 = 38;
    pub const EXCHANGE_ID: u32 = 42;
    pub const CREATE_SESSION: u32 = 43;
    pub const DESTROY_SESSION: u32 = 44;
    pub const SEQUENCE: u32 = 53;
    pub const DESTROY_CLIENTID: u32 = 57;
    pub const RECLAIM_COMPLETE: u32 = 58;
}

/// The arguments of a COMPOUND, operation by operation.
pub struct Compound<'a> {
    out: &'a mut Vec<u8>,
    /// Where the number of operations is to be written.
    count_at: usize,
    count: u32,
}

impl<'a> Compound<'a> {
    /// Begins the arguments, with an empty tag.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.uint(0).uint(1);
        let count_at = out.len();
        out.uint(0);
        Self {
            out,
            count_at,
            count: 0,
        }
    }

    /// Ends the arguments.
    pub fn end(self) {
        self.out[self.count_at..self.count_at + 4].copy_from_slice(&self.count.to_be_bytes());
    }

    fn op(&mut self, number: u32) -> &mut Vec<u8> {
        self.count += 1;
        self.out.uint(number)
    }

    /// SEQUENCE on slot 0 (RFC 8881, 18.46).
    pub fn sequence(&mut self, session: &SessionId, sequence: u32, cache: bool) {
        self.op(number::SEQUENCE)
            .fixed(session)
            .uint(sequence)
            .uint(0)
            .uint(0)
            .uint(cache.into());
    }

    /// EXCHANGE_ID without state protection (RFC 8881, 18.35).
    pub fn exchange_id(&mut self, verifier: &[u8; 8], owner: &[u8]) {
        self.op(number::EXCHANGE_ID)
            .fixed(verifier)
            .opaque(owner)
            .uint(0)
            .uint(0)
            .uint(0);
    }

    /// CREATE_SESSION of one slot and without a back channel (RFC 8881, 18.36).
    pub fn create_session(&mut self, clientid: u64, sequence: u32) {
        let out = self
            .op(number::CREATE_SESSION)
            .hyper(clientid)
            .uint(sequence)
            .uint(0);
        // What each channel's sizes are: padding, request, response, cached, operations, slots.
        for _ in ["fore", "back"] {
            out.uint(0)
                .uint(4096)
                .uint(4096)
                .uint(1024)
                .uint(16)
                .uint(1)
                .uint(0);
        }
        // The callback program, and one way of security: AUTH_NONE.
        out.uint(0x4000_0000).uint(1).uint(0);
    }

    /// DESTROY_SESSION (RFC 8881, 18.37).
    pub fn destroy_session(&mut self, session: &SessionId) {
        self.op(number::DESTROY_SESSION).fixed(session);
    }

    /// DESTROY_CLIENTID (RFC 8881, 18.50).
    pub fn destroy_clientid(&mut self, clientid: u64) {
        self.op(number::DESTROY_CLIENTID).hyper(clientid);
    }

    /// RECLAIM_COMPLETE of all file systems (RFC 8881, 18.51).
    pub fn reclaim_complete(&mut self) {
        self.op(number::RECLAIM_COMPLETE).uint(0);
    }

    /// PUTROOTFH (RFC 8881, 18.21).
    pub fn putrootfh(&mut self) {
        self.op(number::PUTROOTFH);
    }

    /// PUTFH (RFC 8881, 18.19).
    pub fn putfh(&mut self, handle: &[u8]) {
        self.op(number::PUTFH).opaque(handle);
    }

    /// GETFH (RFC 8881, 18.8).
    pub fn getfh(&mut self) {
        self.op(number::GETFH);
    }

    /// LOOKUP (RFC 8881, 18.13).
    pub fn lookup(&mut self, name: &[u8]) {
        self.op(number::LOOKUP).opaque(name);
    }

    /// GETATTR of the lease time (RFC 8881, 18.7 and 5.8.1.11).
    pub fn get_lease_time(&mut self) {
        self.op(number::GETATTR).uint(1).uint(1 << 10);
    }

    fn open_head(&mut self, clientid: u64) -> &mut Vec<u8> {
        // To read and write, denying nothing, and no delegation is wanted.
        self.op(number::OPEN)
            .uint(0)
            .uint(3 | 0x400)
            .uint(0)
            .hyper(clientid)
            .opaque(b"open")
    }

    /// OPEN of a name in the current directory, which creates it (RFC 8881, 18.16).
    pub fn open_create(&mut self, clientid: u64, name: &[u8]) {
        // UNCHECKED4 with one attribute: the mode.
        let out = self.open_head(clientid).uint(1).uint(0);
        out.uint(2).uint(0).uint(2).uint(4).uint(0o666);
        out.uint(0).opaque(name);
    }

    /// OPEN of the current file with CLAIM_PREVIOUS: it was open before the server's restart.
    pub fn open_reclaim(&mut self, clientid: u64) {
        self.open_head(clientid).uint(0).uint(1).uint(0);
    }

    /// CLOSE (RFC 8881, 18.2).
    pub fn close(&mut self, stateid: &Stateid) {
        self.op(number::CLOSE).uint(0).fixed(stateid);
    }

    /// LOCK by a lock owner who has no stateid yet (RFC 8881, 18.10).
    pub fn lock_new(&mut self, clientid: u64, open: &Stateid, reclaim: bool) {
        let out = self.op(number::LOCK).uint(WRITE_LT).uint(reclaim.into());
        out.hyper(RANGE.0).hyper(RANGE.1).uint(1);
        out.uint(0)
            .fixed(open)
            .uint(0)
            .hyper(clientid)
            .opaque(b"lock");
    }

    /// LOCK by a lock owner with a stateid.
    pub fn lock_more(&mut self, lock: &Stateid) {
        let out = self.op(number::LOCK).uint(WRITE_LT).uint(0);
        out.hyper(RANGE.0)
            .hyper(RANGE.1)
            .uint(0)
            .fixed(lock)
            .uint(0);
    }

    /// LOCKU (RFC 8881, 18.12).
    pub fn unlock(&mut self, lock: &Stateid) {
        let out = self.op(number::LOCKU).uint(WRITE_LT).uint(0).fixed(lock);
        out.hyper(RANGE.0).hyper(RANGE.1);
    }

    /// READ from the file's begin (RFC 8881, 18.22).
    pub fn read(&mut self, stateid: &Stateid, bytes: u32) {
        self.op(number::READ).fixed(stateid).hyper(0).uint(bytes);
    }

    /// WRITE to the file's begin, FILE_SYNC (RFC 8881, 18.32).
    pub fn write(&mut self, stateid: &Stateid, data: &[u8]) {
        self.op(number::WRITE)
            .fixed(stateid)
            .hyper(0)
            .uint(2)
            .opaque(data);
    }
}

/// The results of a COMPOUND, operation by operation.
pub struct Results<'a> {
    /// What follows: the results of the operation that `op` has returned.
    pub reader: Reader<'a>,
    status: u32,
    left: u32,
}

impl<'a> Results<'a> {
    /// Begins to read.
    pub fn new(mut reader: Reader<'a>) -> Result<Self, Problem> {
        let status = reader.uint()?;
        reader.opaque()?;
        let left = reader.uint()?;
        Ok(Self {
            reader,
            status,
            left,
        })
    }

    /// The number of the next operation, which must have succeeded. Else it is its status.
    pub fn any_op(&mut self) -> Result<u32, Problem> {
        if self.left == 0 {
            // Not one operation was done, e.g. with a minor version that is not known.
            let status = self.status;
            return Err(if status == 0 {
                Problem::GARBAGE
            } else {
                Problem::Nfs(status)
            });
        }
        self.left -= 1;
        let number = self.reader.uint()?;
        match self.reader.uint()? {
            0 => Ok(number),
            status => Err(Problem::Nfs(status)),
        }
    }

    /// The same for an operation with this number.
    pub fn op(&mut self, number: u32) -> Result<(), Problem> {
        if self.any_op()? == number {
            Ok(())
        } else {
            Err(Problem::GARBAGE)
        }
    }

    /// SEQUENCE's results, of which nothing is used.
    pub fn sequence(&mut self) -> Result<(), Problem> {
        self.op(number::SEQUENCE)?;
        self.reader.skip(36)
    }

    /// GETFH's result.
    pub fn getfh(&mut self) -> Result<&'a [u8], Problem> {
        self.op(number::GETFH)?;
        self.reader.opaque()
    }

    /// OPEN's stateid; all of its results are read.
    pub fn open(&mut self) -> Result<Stateid, Problem> {
        self.op(number::OPEN)?;
        let stateid = self.reader.array()?;
        // change_info4, and the flags.
        self.reader.skip(20 + 4)?;
        self.reader.skip_words()?;
        match self.reader.uint()? {
            0 => {}
            3 => {
                // Of two of the reasons why there is no delegation more is said.
                if matches!(self.reader.uint()?, 1 | 2) {
                    self.reader.uint()?;
                }
            }
            _ => return Err(Problem::Other("UNWANTED_DELEGATION")),
        }
        Ok(stateid)
    }

    /// The stateid that is the result of CLOSE, LOCK or LOCKU.
    pub fn stateid(&mut self, number: u32) -> Result<Stateid, Problem> {
        self.op(number)?;
        self.reader.array()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted() {
        let mut out = Vec::new();
        let mut compound = Compound::new(&mut out);
        compound.putrootfh();
        compound.lookup(b"dir");
        compound.getfh();
        compound.end();
        let expected = b"\0\0\0\0\0\0\0\x01\0\0\0\x03\0\0\0\x18\0\0\0\x0f\0\0\0\x03dir\0\0\0\0\x0a";
        assert_eq!(out, expected);
    }

    #[test]
    fn the_first_bad_status_ends_the_results() {
        let mut data = Vec::new();
        data.uint(10013).uint(0).uint(2);
        data.uint(number::SEQUENCE)
            .uint(0)
            .fixed(&[0; 36])
            .uint(number::PUTFH)
            .uint(10013);
        let mut results = Results::new(Reader(&data)).expect("well-formed");
        assert_eq!(results.sequence(), Ok(()));
        assert_eq!(results.op(number::PUTFH), Err(Problem::GRACE));
    }

    #[test]
    fn no_results_but_a_status() {
        let mut data = Vec::new();
        data.uint(10021).uint(0).uint(0);
        let mut results = Results::new(Reader(&data)).expect("well-formed");
        assert_eq!(results.sequence(), Err(Problem::Nfs(10021)));
    }
}
