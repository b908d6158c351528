// SPDX-License-Identifier: GPL-2.0
//! NLM version 4 (X/Open XNFS, RFC 1813 appendix II), and what of NFSv3 and MOUNT (RFC 1813) is
//! needed for the file handles.

use crate::net::{self, Blocking};
use crate::problem::Problem;
use crate::rpc::Procedure;
use crate::xdr::{Put, Reader};
use anyhow::{bail, Context as _, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// NFSPROC3_CREATE (RFC 1813, 3.3.8).
pub const V3_CREATE: Procedure = Procedure {
    program: 100003,
    version: 3,
    number: 8,
};
/// NLMPROC4_LOCK.
pub const LOCK: Procedure = Procedure {
    program: NLM,
    version: 4,
    number: 2,
};
/// NLMPROC4_UNLOCK.
pub const UNLOCK: Procedure = Procedure {
    program: NLM,
    version: 4,
    number: 4,
};
/// MOUNTPROC3_MNT (RFC 1813, 5.2.1).
const MNT: Procedure = Procedure {
    program: MOUNT,
    version: 3,
    number: 1,
};
/// RPCBPROC_GETADDR (RFC 1833, 2.2.1).
const GETADDR: Procedure = Procedure {
    program: 100000,
    version: 4,
    number: 3,
};
/// PMAPPROC_GETPORT (RFC 1833, 3.2).
const GETPORT: Procedure = Procedure {
    program: 100000,
    version: 2,
    number: 3,
};
const MOUNT: u32 = 100005;
const NLM: u32 = 100021;

/// The arguments of NFSv3's CREATE, UNCHECKED.
pub fn create(out: &mut Vec<u8>, directory: &[u8], name: &str) {
    out.opaque(directory).opaque(name.as_bytes()).uint(0);
    // sattr3: the mode, and nothing else.
    out.uint(1).uint(0o666).fixed(&[0; 20]);
}

/// The file handle in CREATE's answer.
pub fn created(mut reader: Reader) -> Result<&[u8], Problem> {
    match reader.uint()? {
        0 if reader.uint()? != 0 => reader.opaque(),
        0 => Err(Problem::Other("NO_HANDLE")),
        status => Err(Problem::Nfs(status)),
    }
}

/// The arguments of LOCK, exclusive and not waiting, or of UNLOCK, for the bytes 0-99.
pub fn lock(out: &mut Vec<u8>, locks: bool, caller: &str, svid: u32, handle: &[u8]) {
    out.uint(0);
    if locks {
        out.uint(0).uint(1);
    }
    let caller = caller.as_bytes();
    out.opaque(caller)
        .opaque(handle)
        .opaque(caller)
        .uint(svid)
        .hyper(0)
        .hyper(100);
    if locks {
        // Not a reclaim; the client's NSM state.
        out.uint(0).uint(1);
    }
}

/// The result of LOCK or UNLOCK.
pub fn result(mut reader: Reader) -> Result<(), Problem> {
    reader.opaque()?;
    match reader.uint()? {
        0 => Ok(()),
        status => Err(Problem::Nlm(status)),
    }
}

/// What `nlm-loop` has to know of a server.
pub struct Setup {
    /// lockd's address and port.
    pub lockd: SocketAddr,
    /// The handle of the exported directory.
    pub directory: Vec<u8>,
}

/// Asks for lockd's port, and mounts the export.
pub fn set_up(server: IpAddr, path: &str, timeout: Duration) -> Result<Setup> {
    let mountd = SocketAddr::new(server, port_of(server, MOUNT, 3, timeout)?);
    let lockd = SocketAddr::new(server, port_of(server, NLM, 4, timeout)?);
    let answer = Blocking::connect(mountd, timeout)?.call(MNT, |out| {
        out.opaque(path.as_bytes());
    })?;
    let mut reader = Reader(&answer);
    let status = reader.uint().map_err(net::said)?;
    if status != 0 {
        bail!("MOUNT of {path}: {}", Problem::Nfs(status));
    }
    Ok(Setup {
        lockd,
        directory: reader.opaque().map_err(net::said)?.to_vec(),
    })
}

/// Asks rpcbind for the TCP port of a program.
fn port_of(server: IpAddr, program: u32, version: u32, timeout: Duration) -> Result<u16> {
    let mut rpcbind = Blocking::connect(SocketAddr::new(server, 111), timeout)
        .context("asking rpcbind for a port")?;
    let netid = if server.is_ipv4() { "tcp" } else { "tcp6" };
    let address = rpcbind.call(GETADDR, |out| {
        out.uint(program)
            .uint(version)
            .opaque(netid.as_bytes())
            .uint(0)
            .uint(0);
    });
    let port = match address {
        Ok(address) => {
            let address = Reader(&address).opaque().map_err(net::said)?;
            port_in(&String::from_utf8_lossy(address))
        }
        // It may be a portmapper of old.
        Err(_) => {
            let answer =
                Blocking::connect(SocketAddr::new(server, 111), timeout)?.call(GETPORT, |out| {
                    out.uint(program).uint(version).uint(6).uint(0);
                })?;
            u16::try_from(Reader(&answer).uint().map_err(net::said)?)
                .ok()
                .filter(|&p| p != 0)
        }
    };
    port.with_context(|| format!("{server} has no program {program} version {version} over TCP"))
}

/// The port in a universal address (RFC 5665, 5.2.3.3), whose last two numbers it is.
fn port_in(address: &str) -> Option<u16> {
    let mut parts = address.rsplit('.').map(str::parse::<u8>);
    let low = parts.next()?.ok()?;
    let high = parts.next()?.ok()?;
    Some(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(port_in("127.0.0.1.8.1"), Some(2049));
        assert_eq!(port_in("::.0.111"), Some(111));
        assert_eq!(port_in(""), None);
    }

    #[test]
    fn results() {
        assert_eq!(result(Reader(b"\0\0\0\0\0\0\0\0")), Ok(()));
        assert_eq!(
            result(Reader(b"\0\0\0\0\0\0\0\x04")),
            Err(Problem::NLM_GRACE)
        );
        let data = b"\0\0\0\0\0\0\0\x01\0\0\0\x04abcd";
        assert_eq!(created(Reader(data)), Ok(&b"abcd"[..]));
    }
}
