// SPDX-License-Identifier: GPL-2.0
//! What can be wrong with an answer, and its name.

use std::fmt;

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// An NFSv4 status (RFC 8881, 15.1); those of NFSv3 have the same numbers.
    Nfs(u32),
    /// An NLM result (X/Open XNFS, nlm4_stats).
    Nlm(u32),
    /// Anything else, by its name.
    Other(&'static str),
}

impl Problem {
    /// NFS4ERR_DELAY.
    pub const DELAY: Self = Self::Nfs(10008);
    /// NFS4ERR_GRACE.
    pub const GRACE: Self = Self::Nfs(10013);
    /// NFS4ERR_STALE_CLIENTID.
    pub const STALE_CLIENTID: Self = Self::Nfs(10022);
    /// NFS4ERR_BADSESSION.
    pub const BADSESSION: Self = Self::Nfs(10052);
    /// NFS4ERR_COMPLETE_ALREADY.
    pub const COMPLETE_ALREADY: Self = Self::Nfs(10054);
    /// NFS4ERR_DEADSESSION.
    pub const DEADSESSION: Self = Self::Nfs(10078);
    /// NLM4_DENIED_GRACE_PERIOD.
    pub const NLM_GRACE: Self = Self::Nlm(4);
    /// An answer that is not what the protocol says.
    pub const GARBAGE: Self = Self::Other("GARBAGE");
    /// The connection was lost.
    pub const LOST: Self = Self::Other("LOST_CONNECTION");
    /// There was no answer in time.
    pub const TIMEOUT: Self = Self::Other("TIMEOUT");

    /// Does it pass if the request is made again later?
    pub fn is_transient(self) -> bool {
        matches!(self, Self::DELAY | Self::GRACE | Self::NLM_GRACE)
    }

    /// Does it say that the server does not know the client's session, e.g. after a restart?
    pub fn is_forgotten(self) -> bool {
        matches!(
            self,
            Self::BADSESSION | Self::DEADSESSION | Self::STALE_CLIENTID
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Self::Nfs(number) => match NFS.iter().find(|(n, _)| *n == number) {
                Some((_, name)) => f.write_str(name),
                None => write!(f, "NFS_{number}"),
            },
            Self::Nlm(number) => match NLM.get(number as usize) {
                Some(name) => write!(f, "NLM_{name}"),
                None => write!(f, "NLM_{number}"),
            },
            Self::Other(name) => f.write_str(name),
        }
    }
}

#[rustfmt::skip]
const NLM: [&str; 10] = ["GRANTED", "DENIED", "DENIED_NOLOCKS", "BLOCKED", "DENIED_GRACE_PERIOD",
    "DEADLCK", "ROFS", "STALE_FH", "FBIG", "FAILED"];

#[rustfmt::skip]
const NFS: &[(u32, &str)] = &[
    (1, "PERM"), (2, "NOENT"), (5, "IO"), (6, "NXIO"), (13, "ACCESS"), (17, "EXIST"),
    (18, "XDEV"), (20, "NOTDIR"), (21, "ISDIR"), (22, "INVAL"), (27, "FBIG"), (28, "NOSPC"),
    (30, "ROFS"), (31, "MLINK"), (63, "NAMETOOLONG"), (66, "NOTEMPTY"), (69, "DQUOT"),
    (70, "STALE"), (10001, "BADHANDLE"), (10003, "BAD_COOKIE"), (10004, "NOTSUPP"),
    (10005, "TOOSMALL"), (10006, "SERVERFAULT"), (10007, "BADTYPE"), (10008, "DELAY"),
    (10009, "SAME"), (10010, "DENIED"), (10011, "EXPIRED"), (10012, "LOCKED"), (10013, "GRACE"),
    (10014, "FHEXPIRED"), (10015, "SHARE_DENIED"), (10016, "WRONGSEC"), (10017, "CLID_INUSE"),
    (10018, "RESOURCE"), (10019, "MOVED"), (10020, "NOFILEHANDLE"),
    (10021, "MINOR_VERS_MISMATCH"), (10022, "STALE_CLIENTID"), (10023, "STALE_STATEID"),
    (10024, "OLD_STATEID"), (10025, "BAD_STATEID"), (10026, "BAD_SEQID"), (10027, "NOT_SAME"),
    (10028, "LOCK_RANGE"), (10029, "SYMLINK"), (10030, "RESTOREFH"), (10031, "LEASE_MOVED"),
    (10032, "ATTRNOTSUPP"), (10033, "NO_GRACE"), (10034, "RECLAIM_BAD"),
    (10035, "RECLAIM_CONFLICT"), (10036, "BADXDR"), (10037, "LOCKS_HELD"), (10038, "OPENMODE"),
    (10039, "BADOWNER"), (10040, "BADCHAR"), (10041, "BADNAME"), (10042, "BAD_RANGE"),
    (10043, "LOCK_NOTSUPP"), (10044, "OP_ILLEGAL"), (10045, "DEADLOCK"), (10046, "FILE_OPEN"),
    (10047, "ADMIN_REVOKED"), (10048, "CB_PATH_DOWN"), (10049, "BADIOMODE"),
    (10050, "BADLAYOUT"), (10051, "BAD_SESSION_DIGEST"), (10052, "BADSESSION"),
    (10053, "BADSLOT"), (10054, "COMPLETE_ALREADY"), (10055, "CONN_NOT_BOUND_TO_SESSION"),
    (10056, "DELEG_ALREADY_WANTED"), (10057, "BACK_CHAN_BUSY"), (10058, "LAYOUTTRYLATER"),
    (10059, "LAYOUTUNAVAILABLE"), (10060, "NOMATCHING_LAYOUT"), (10061, "RECALLCONFLICT"),
    (10062, "UNKNOWN_LAYOUTTYPE"), (10063, "SEQ_MISORDERED"), (10064, "SEQUENCE_POS"),
    (10065, "REQ_TOO_BIG"), (10066, "REP_TOO_BIG"), (10067, "REP_TOO_BIG_TO_CACHE"),
    (10068, "RETRY_UNCACHED_REP"), (10069, "UNSAFE_COMPOUND"), (10070, "TOO_MANY_OPS"),
    (10071, "OP_NOT_IN_SESSION"), (10072, "HASH_ALG_UNSUPP"), (10074, "CLIENTID_BUSY"),
    (10075, "PNFS_IO_HOLE"), (10076, "SEQ_FALSE_RETRY"), (10077, "BAD_HIGH_SLOT"),
    (10078, "DEADSESSION"), (10079, "ENCR_ALG_UNSUPP"), (10080, "PNFS_NO_LAYOUT"),
    (10081, "NOT_ONLY_OP"), (10082, "WRONG_CRED"), (10083, "WRONG_TYPE"),
    (10084, "DIRDELEG_UNAVAIL"), (10085, "REJECT_DELEG"), (10086, "RETURNCONFLICT"),
    (10087, "DELEG_REVOKED"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Problem::GRACE.to_string(), "GRACE");
        assert_eq!(Problem::Nfs(10034).to_string(), "RECLAIM_BAD");
        assert_eq!(Problem::Nfs(4711).to_string(), "NFS_4711");
        assert_eq!(Problem::NLM_GRACE.to_string(), "NLM_DENIED_GRACE_PERIOD");
        assert_eq!(Problem::LOST.to_string(), "LOST_CONNECTION");
    }

    #[test]
    fn numbers_come_in_order_and_once() {
        assert!(NFS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
