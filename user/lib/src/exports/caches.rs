// SPDX-License-Identifier: GPL-2.0
//! What the kernel knows of exports, and how it forgets them.
//!
//! nfsd keeps what rpc.mountd has told it in two caches: `nfsd.export`, from a path and a client to an
//! export, and `nfsd.fh`, from the fsid of a file handle to a path. Each entry keeps its file system from
//! being unmounted. A flush drops all of them, but a cache that is flushed twice within a second
//! drops nothing the second time: it sets its next cleaning to the time of the flush, which is then in
//! the future (`write_flush()` and `cache_clean()` in `net/sunrpc/cache.c`). Each exportfs flushes.

use super::Error;
use crate::mounts::unescape;
use crate::scope::Fsid;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the caches are.
const CACHES: &str = "/proc/net/rpc";
/// The caches whose entries keep a file system in use.
pub(super) const NAMES: [&str; 2] = ["nfsd.fh", "nfsd.export"];
/// How long the kernel may take to forget: a few flushes, as others may flush, too.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A path that an entry of a cache is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where the export is.
    pub path: PathBuf,
    /// What a handle names it by, if the entry says it.
    pub fsid: Option<Fsid>,
}

/// The fsid of a file handle (`enum fsid_type` and `mk_fsid()` in `fs/nfsd/nfsfh.h`).
fn of_form(kind: u8, bytes: &[u8]) -> Option<Fsid> {
    let big = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..at + 4)?.first_chunk()?));
    let native = || Some(u32::from_ne_bytes(*bytes.first_chunk()?));
    let uuid = |bytes: &[u8]| Some(Fsid::Uuid(uuid::Uuid::from_bytes(*bytes.first_chunk()?)));
    match kind {
        0 => big(0).and_then(|device| Fsid::device(device >> 16, device & 0xffff)),
        1 => native().map(Fsid::Number),
        2 => Fsid::device(big(0)?, big(4)?),
        // new_encode_dev()
        3 => native().and_then(|device| {
            let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
            Fsid::device((device >> 8) & 0xfff, minor)
        }),
        4 => Some(Fsid::Uuid4(*bytes.get(4..)?.first_chunk()?)),
        5 => Some(Fsid::Uuid8(*bytes.first_chunk()?)),
        6 => uuid(bytes),
        7 => uuid(bytes.get(8..)?),
        _ => None,
    }
}

/// Reads a line of a cache's content (`expkey_show()` and `svc_export_show()` in `fs/nfsd/export.c`); `None` if
/// it names no path. One that has expired begins with a `#`, and is there all the same.
pub(super) fn parse(cache: &str, line: &[u8]) -> Option<Known> {
    let line = line.strip_prefix(b"# ").unwrap_or(line);
    let path = |word: &[u8]| {
        let path = PathBuf::from(OsString::from_vec(unescape(word)));
        path.is_absolute().then_some(path)
    };
    if cache == NAMES[1] {
        let end = line.iter().position(|byte| *byte == b'\t')?;
        return Some(Known {
            path: path(&line[..end])?,
            fsid: None,
        });
    }
    // DOMAIN TYPE 0xWORDS PATH: each word as a number of the machine.
    let mut words = line
        .split(|byte| *byte == b' ')
        .skip(1)
        .map(|word| std::str::from_utf8(word).unwrap_or(""));
    let (kind, digits) = (
        words.next()?.parse().ok()?,
        words.next()?.strip_prefix("0x")?,
    );
    let shown = line.split(|byte| *byte == b' ').nth(3)?;
    let word = |at| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok();
    let bytes: Option<Vec<[u8; 4]>> = (0..digits.len())
        .step_by(8)
        .map(|at| word(at).map(u32::to_ne_bytes))
        .collect();
    Some(Known {
        path: path(shown)?,
        fsid: of_form(kind, &bytes?.concat()),
    })
}

/// What the kernel knows.
pub fn known() -> Result<Vec<Known>, Error> {
    let mut all = Vec::new();
    for cache in NAMES {
        let path = Path::new(CACHES).join(cache).join("content");
        let content = match std::fs::read(&path) {
            // nfsd is not loaded.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            content => content.map_err(|source| Error::File { path, source })?,
        };
        all.extend(
            content
                .split(|byte| *byte == b'\n')
                .filter_map(|line| parse(cache, line)),
        );
    }
    Ok(all)
}

/// The time of the last flush of either cache: seconds of the wall clock.
fn flushed() -> Result<u64, Error> {
    let mut last = 0;
    for cache in NAMES {
        let path = Path::new(CACHES).join(cache).join("flush");
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            text => text.map_err(|source| Error::File { path, source })?,
        };
        last = last.max(text.trim().parse().unwrap_or(0));
    }
    Ok(last)
}

/// Waits until a flush drops what is known: until the second of the last one is over, two seconds at most
/// unless others flush all the time.
///
/// Whoever is about to unexport something in a hurry waits before.
pub fn settle() -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && !is_settled()? {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn is_settled() -> Result<bool, Error> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let last = flushed()?;
    // A clock that was set back says nothing.
    Ok(now > last || last - now > PATIENCE.as_secs())
}

/// Waits until the kernel has forgotten all paths of a kind, which are exported no more.
///
/// Fails with [`Error::StillKnown`] after eight seconds, as somebody must export one again.
pub fn forget(of: impl Fn(&Path) -> bool) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        let Some(one) = known()?.into_iter().find(|known| of(&known.path)) else {
            return Ok(());
        };
        if Instant::now() > end {
            return Err(Error::StillKnown(one.path));
        }
        if is_settled()? {
            flush()?;
        } else {
            std::thread::sleep(PAUSE);
        }
    }
}

fn flush() -> Result<(), Error> {
    for cache in NAMES {
        let path = Path::new(CACHES).join(cache).join("flush");
        // Any number; the kernel takes the time of now.
        std::fs::write(&path, "1\n").map_err(|source| Error::File { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_both_caches_are_read() {
        let export = |line: &str| parse("nfsd.export", line.as_bytes());
        let known = |path: &str, fsid: Option<&str>| {
            Some(Known {
                path: path.into(),
                fsid: fsid.map(|fsid| fsid.parse().unwrap()),
            })
        };
        assert_eq!(export("#path domain(flags)"), None);
        assert_eq!(export("/srv/ha\t*(rw,fsid=1234)"), known("/srv/ha", None));
        assert_eq!(export("# /srv/a\\040b\t*()"), known("/srv/a b", None));
        let key = |line: &str| parse("nfsd.fh", line.as_bytes());
        assert_eq!(key("#domain fsidtype fsid [path]"), None);
        assert_eq!(
            key("* 1 0x000004d2 /srv/ha"),
            known("/srv/ha", Some("1234"))
        );
        assert_eq!(
            key("# * 1 0x000004d2 /srv/ha"),
            known("/srv/ha", Some("1234"))
        );
        assert_eq!(key("# * 1 0x000004d2"), None);
        let (uuid, words) = (
            "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d",
            "e8b67b0d6a4e1e0c9a3f619d1d1b6c1f",
        );
        assert_eq!(key(&format!("* 6 0x{words} /x")), known("/x", Some(uuid)));
        assert_eq!(
            key(&format!("* 7 0x0000000200000000{words} /x")),
            known("/x", Some(uuid))
        );
        assert_eq!(key("* 3 0x00000810 /x"), known("/x", Some("dev:8:16")));
        assert_eq!(key("* 9 0x00000810 /x"), known("/x", None));
    }

    proptest! {
        #[test]
        fn what_looks_like_a_line_is_read(line in "# [*a] [0-9] 0x[0-9a-f]{0,40} /[a-z\\\\0-9]{0,5}") {
            crate::exports::laws::caches(format!("\0{line}").as_bytes());
        }
    }
}
