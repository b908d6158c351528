// SPDX-License-Identifier: GPL-2.0
//! ONC RPC over TCP with AUTH_SYS (RFC 5531): calls, replies and record marking (section 11).

use crate::problem::Problem;
use crate::xdr::{Put, Reader};

/// The last fragment of a record.
const LAST: u32 = 1 << 31;

/// A procedure of a program.
#[derive(Clone, Copy)]
pub struct Procedure {
    /// The program's number.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// The procedure's number.
    pub number: u32,
}

/// Begins a call, a record of its own; returns where it begins, for `end_call`.
pub fn begin_call(out: &mut Vec<u8>, xid: u32, procedure: Procedure) -> usize {
    let start = out.len();
    // The record's mark, which is set at the end; CALL; RPC version 2.
    out.uint(0).uint(xid).uint(0).uint(2);
    out.uint(procedure.program)
        .uint(procedure.version)
        .uint(procedure.number);
    // AUTH_SYS: stamp, machine name, uid, gid, no other groups. The verifier is AUTH_NONE.
    out.uint(1)
        .uint(28)
        .uint(0)
        .opaque(b"nfs4load")
        .uint(0)
        .uint(0)
        .uint(0);
    out.uint(0).uint(0);
    start
}

/// Ends a call, whose arguments are complete.
pub fn end_call(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&(LAST | length).to_be_bytes());
}

/// The xid of a reply, and its results. `None` if the message is a call.
pub fn parse_reply(message: &[u8]) -> Result<Option<(u32, Result<Reader, Problem>)>, Problem> {
    let mut reader = Reader(message);
    let xid = reader.uint()?;
    if reader.uint()? != 1 {
        return Ok(None);
    }
    if reader.uint()? != 0 {
        return Ok(Some((xid, Err(Problem::Other("RPC_DENIED")))));
    }
    reader.uint()?;
    reader.opaque()?;
    let results = match reader.uint()? {
        0 => Ok(reader),
        1 => Err(Problem::Other("PROG_UNAVAIL")),
        2 => Err(Problem::Other("PROG_MISMATCH")),
        3 => Err(Problem::Other("PROC_UNAVAIL")),
        4 => Err(Problem::Other("GARBAGE_ARGS")),
        5 => Err(Problem::Other("SYSTEM_ERR")),
        _ => Err(Problem::GARBAGE),
    };
    Ok(Some((xid, results)))
}

/// Bytes that have come, to be cut into records.
#[derive(Default)]
pub struct Records {
    data: Vec<u8>,
    /// What is before this has been read.
    start: usize,
    /// Fragments of a record that is not complete.
    parts: Vec<u8>,
    /// `parts` was returned as a record and is to be emptied.
    returned: bool,
}

impl Records {
    /// Adds bytes that have come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.data.drain(..self.start);
        self.start = 0;
        self.data.extend_from_slice(bytes);
    }

    /// Forgets all, for a new connection.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next record, if all of it is there.
    pub fn next(&mut self) -> Option<&[u8]> {
        if std::mem::take(&mut self.returned) {
            self.parts.clear();
        }
        loop {
            let rest = &self.data[self.start..];
            let mark = u32::from_be_bytes(*rest.first_chunk()?);
            let length = (mark & !LAST) as usize;
            if rest.len() < 4 + length {
                return None;
            }
            let body = self.start + 4;
            self.start = body + length;
            let fragment = &self.data[body..self.start];
            if mark & LAST != 0 && self.parts.is_empty() {
                return Some(&self.data[body..self.start]);
            }
            self.parts.extend_from_slice(fragment);
            if mark & LAST != 0 {
                self.returned = true;
                return Some(&self.parts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_one_record() {
        let mut out = b"before".to_vec();
        let start = begin_call(
            &mut out,
            9,
            Procedure {
                program: 100003,
                version: 4,
                number: 1,
            },
        );
        out.uint(4711);
        end_call(&mut out, start);
        let mut records = Records::default();
        records.feed(&out[start..]);
        let record = records.next().expect("a record");
        assert_eq!(record.len(), 6 * 4 + 8 + 28 + 8 + 4);
        assert_eq!(record[..8], *b"\0\0\0\x09\0\0\0\0");
        assert!(records.next().is_none());
    }

    #[test]
    fn records_come_in_any_pieces() {
        let bytes = b"\x80\0\0\x04abcd\0\0\0\x02ef\x80\0\0\x02gh\x80\0\0\0\x80\0\0\x01i";
        for size in 1..bytes.len() {
            let mut records = Records::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(size) {
                records.feed(piece);
                while let Some(record) = records.next() {
                    seen.push(record.to_vec());
                }
            }
            assert_eq!(seen, [&b"abcd"[..], b"efgh", b"", b"i"]);
        }
    }

    #[test]
    fn replies() {
        let mut good = Vec::new();
        good.uint(5)
            .uint(1)
            .uint(0)
            .uint(0)
            .uint(0)
            .uint(0)
            .uint(77);
        let (xid, results) = parse_reply(&good).expect("well-formed").expect("a reply");
        assert_eq!((xid, results.expect("accepted").uint()), (5, Ok(77)));
        good[23] = 2;
        let (_, results) = parse_reply(&good).expect("well-formed").expect("a reply");
        assert_eq!(results.err(), Some(Problem::Other("PROG_MISMATCH")));
        good[7] = 0;
        assert!(parse_reply(&good).expect("well-formed").is_none());
        assert!(parse_reply(&good[..7]).is_err());
    }
}
