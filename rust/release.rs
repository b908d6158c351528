// SPDX-License-Identifier: GPL-2.0

//! Releasing the NLM locks, blocked locks and shares of a scope: all of them, or none.
//!
//! 1. The scope is held in grace: nobody gets a lock there.
//! 2. Its files are pinned, its blocked locks parked, and lockd finishes what it began.
//! 3. It is decided whether the files can be let go of: nobody else may have one open.
//! 4. The locks are removed. If one cannot be, those that were are set again, lockd tries the
//!    blocked locks again, and that is the end.
//! 5. The shares are taken, which cannot fail.
//! 6. The parked blocks and the pins are given up; that closes the files.
//!
//! Clients stay monitored by rpc.statd, as they must be told that their locks are gone.
//!
//! One release runs at a time. Lock order: [`RELEASE`], then lockd's.

use crate::blocks::Block;
use crate::lockd::{HeldLock, Host, Lockd, NlmFile};
use crate::nfsd::Net;
use crate::openers;
use crate::private;
use crate::scope::{command, Scope};
use crate::scopes::Hold;
use crate::shares;
use crate::text::Text;
use core::fmt::{self, Write};
use core::net::IpAddr;
use core::ptr;
use kernel::current;
use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::time::{delay::fsleep, Delta, Instant, Monotonic};

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init_module()` before anything can use it.
    unsafe(uninit) static RELEASE: Mutex<()> = ();
}

/// How long to wait for lockd, and for callbacks that were given up, to let go of the files.
const PATIENCE: Delta = Delta::from_secs(5);
/// How long to wait between looks.
const PAUSE: Delta = Delta::from_millis(10);
/// How often to look for what came while the scope was released: a reclaim, or a share that
/// lockd was about to set.
const ROUNDS: usize = 3;

/// Prepares this file's lock.
///
/// # Safety
///
/// Called once, before the module attaches.
pub(crate) unsafe fn init_module() {
    // SAFETY: By this function's requirement.
    unsafe { RELEASE.init() };
}

/// What was released.
#[derive(Default)]
struct Released {
    locks: usize,
    blocks: usize,
    shares: usize,
    files: usize,
    clients: RBTree<IpAddr, ()>,
    client_count: usize,
}

impl Released {
    /// Notes a client.
    fn client(&mut self, client: IpAddr) -> Result {
        if self.clients.get(&client).is_none() {
            self.clients.try_create_and_insert(client, (), GFP_KERNEL)?;
            self.client_count += 1;
        }
        Ok(())
    }

    /// Adds what was released later.
    fn add(&mut self, later: &Released) -> Result {
        self.locks += later.locks;
        self.blocks += later.blocks;
        self.shares += later.shares;
        self.files += later.files;
        for (client, ()) in &later.clients {
            self.client(*client)?;
        }
        Ok(())
    }
}

/// Why a scope cannot be released.
struct Busy {
    /// The file.
    path: Text,
    reason: Text,
}

impl Busy {
    fn new(file: &NlmFile, reason: impl fmt::Display) -> Result<Self> {
        let mut busy = Busy {
            path: Text::default(),
            reason: Text::default(),
        };
        openers::write_path(file.any_open(), &mut busy.path)?;
        write!(busy.reason, "{reason}")?;
        Ok(busy)
    }
}

/// How it went: what was released, or what is in the way.
type Outcome = Result<Released, Busy>;

/// Does a command of `nlm_unlock`: `SCOPE`. May sleep.
///
/// Adds to the text what was released, or which file is in the way. Fails with `EINVAL` for
/// another command; with `EBUSY` if a file cannot be released, `EINTR` after a signal, and
/// `ENOMEM`; everything is then as it was.
///
/// # Safety
///
/// nfsd is loaded and stays so, and `net` is alive.
pub(crate) unsafe fn write(net: Net, data: &[u8], out: &mut Text) -> Result {
    let scope = Scope::parse(command(data)?)?;
    let _one = RELEASE.lock();
    // SAFETY: nfsd needs lockd, which is thus loaded; nobody who calls this has its locks.
    let outcome = match unsafe { Lockd::get() } {
        // SAFETY: By this function's requirement.
        Some(lockd) => unsafe { release(&lockd, net, scope)? },
        None => Ok(Released::default()),
    };
    // Our last references to files went in this task; other tasks of the kernel may have had
    // the last ones to some.
    // SAFETY: We may sleep, and hold no lock that closing a file takes.
    unsafe { private::flush_delayed_fput() };
    match outcome {
        Ok(released) => {
            let Released {
                locks,
                blocks,
                shares,
                files,
                client_count: clients,
                ..
            } = released;
            write!(
                out,
                "scope {scope}\nlocks {locks}\nblocks {blocks}\nshares {shares}\nfiles {files}\n\
                 clients {clients}\n"
            )?;
            if files > 0 {
                pr_info!(
                    "released {}: {locks} locks, {blocks} blocked, {shares} shares of \
                     {clients} clients on {files} files\n",
                    format_args!("{scope}")
                );
            }
            Ok(())
        }
        Err(Busy { path, reason }) => {
            let (path, reason) = (path.as_str(), reason.as_str());
            write!(out, "scope {scope}\nbusy {path}: {reason}\n")?;
            pr_warn!(
                "nothing released of {}: {path}: {reason}\n",
                format_args!("{scope}")
            );
            Err(EBUSY)
        }
    }
}

/// Releases a scope, and what came there meanwhile.
///
/// # Safety
///
/// `net` is alive.
unsafe fn release(lockd: &Lockd, net: Net, scope: Scope) -> Result<Outcome> {
    // SAFETY: By this function's requirement.
    let _hold = unsafe { Hold::new(net, scope)? };
    let mut total = Released::default();
    for _ in 0..ROUNDS {
        match round(lockd, net, &scope)? {
            Ok(released) if released.files == 0 => break,
            Ok(released) => total.add(&released)?,
            Err(busy) => return Ok(Err(busy)),
        }
    }
    Ok(Ok(total))
}

/// Releases what there is of a scope.
fn round(lockd: &Lockd, net: Net, scope: &Scope) -> Result<Outcome> {
    let of_scope = |host: Host<'_>| {
        host.net() == net
            && match scope {
                Scope::Export(_) => true,
                Scope::Server(address) => host.server() == Some(*address),
            }
    };
    let mut files = KVVec::new();
    let mut blocks = KVVec::new();
    for file in lockd.files(|fsid| match scope {
        Scope::Export(_) => fsid.is_some_and(|fsid| scope.has(&fsid)),
        Scope::Server(_) => true,
    })? {
        let waiting = file.blocks(of_scope)?;
        if waiting.is_empty() && !file.has_shares() && file.locks(of_scope)?.is_empty() {
            continue;
        }
        for block in waiting {
            blocks.push(block, GFP_KERNEL)?;
        }
        files.push(file, GFP_KERNEL)?;
    }
    let mut removed = KVVec::new();
    let result = attempt(lockd, scope, &files, &blocks, &mut removed, of_scope);
    if !matches!(result, Ok(Ok(_))) {
        put_back(&removed);
        drop(removed);
        for block in blocks {
            block.retry();
        }
    }
    result
}

/// The locks that were removed, with their files.
type Removed<'a> = KVVec<(&'a NlmFile, HeldLock)>;

/// Releases these files' locks, blocks and shares. If it fails, it has `removed` these locks,
/// perhaps parked the blocks, and done nothing else.
fn attempt<'a>(
    lockd: &Lockd,
    scope: &Scope,
    files: &'a [NlmFile],
    blocks: &[Block],
    removed: &mut Removed<'a>,
    of_scope: impl Fn(Host<'_>) -> bool,
) -> Result<Outcome> {
    let mut released = Released::default();
    if let Err(busy) = settle(lockd, files, blocks)? {
        return Ok(Err(busy));
    }
    if let Scope::Export(_) = scope {
        if let Some((file, opener)) = openers::find(files)? {
            return Ok(Err(Busy::new(file, opener)?));
        }
    }
    for block in blocks {
        if let Some(client) = block.host().client() {
            released.client(client)?;
        }
        block.host().keep_monitored();
    }
    for file in files {
        let held = file.locks(&of_scope)?;
        removed.reserve(held.len(), GFP_KERNEL)?;
        for lock in held {
            if let Some(client) = lock.host().client() {
                released.client(client)?;
            }
            lock.host().keep_monitored();
            let result = file.unlock(&lock);
            // Also if it failed: the file system may have removed it before it did.
            removed.push((file, lock), GFP_KERNEL)?;
            if let Err(e) = result {
                let errno = e.to_errno();
                let why = "a lock cannot be removed, error";
                return Ok(Err(Busy::new(file, format_args!("{why} {errno}"))?));
            }
        }
    }
    let began = Instant::<Monotonic>::now();
    let shares = loop {
        match shares::take(files, &of_scope)? {
            Ok(shares) => break shares,
            Err(at) => {
                if let Err(busy) = pause(began, &files[at], "a request is on its way")? {
                    return Ok(Err(busy));
                }
            }
        }
    };
    // Nothing can be put back from here on, and nothing can fail but this, for want of memory.
    for share in &shares {
        let _ = share.client().map(|client| released.client(client));
    }
    (released.locks, released.blocks) = (removed.len(), blocks.len());
    released.shares = shares.len();
    // The removed locks are in the order of the files.
    let mut locked = removed.iter().map(|(file, _)| *file).peekable();
    for file in files {
        let mut had_any = false;
        while locked.next_if(|other| ptr::eq(*other, file)).is_some() {
            had_any = true;
        }
        had_any = had_any
            || blocks.iter().any(|block| block.is_of(file))
            || shares.iter().any(|share| share.is_of(file));
        released.files += usize::from(had_any);
    }
    Ok(Ok(released))
}

/// Parks the blocked locks, and waits until lockd has finished with the files what it began
/// before the scope was held.
fn settle(lockd: &Lockd, files: &[NlmFile], blocks: &[Block]) -> Result<Result<(), Busy>> {
    let began = Instant::<Monotonic>::now();
    loop {
        let mut parked = true;
        for block in blocks.iter().filter(|block| !block.is_parked()) {
            block.park(lockd);
            parked = false;
        }
        if parked {
            break;
        }
        // lockd may have taken a block from the list, and not yet have a reference to it. It
        // does not sleep in between.
        // SAFETY: We may sleep.
        unsafe { private::synchronize_rcu_tasks() };
        if let Some(block) = blocks.iter().find(|block| !block.is_parked()) {
            let file = files.iter().find(|file| block.is_of(file));
            let file = file.ok_or(ENOENT)?;
            if let Err(busy) = pause(began, file, "a callback to a client does not end")? {
                return Ok(Err(busy));
            }
        }
    }
    for file in files {
        while file.is_in_use() {
            if let Err(busy) = pause(began, file, "a request does not end")? {
                return Ok(Err(busy));
            }
        }
    }
    Ok(Ok(()))
}

/// Waits a moment, unless this has taken too long. Fails with `EINTR` after a signal.
fn pause(began: Instant<Monotonic>, file: &NlmFile, reason: &str) -> Result<Result<(), Busy>> {
    if began.elapsed() > PATIENCE {
        return Ok(Err(Busy::new(file, reason)?));
    }
    if current!().signal_pending() {
        return Err(EINTR);
    }
    fsleep(PAUSE);
    Ok(Ok(()))
}

/// Sets removed locks again.
fn put_back(removed: &Removed<'_>) {
    for (file, lock) in removed {
        if let Err(e) = file.relock(lock) {
            // A process of this machine has taken it meanwhile: those are not held off.
            let mut path = Text::default();
            let _ = openers::write_path(file.any_open(), &mut path);
            let ((start, end), path) = (lock.range(), path.as_str());
            pr_err!(
                "{path}: lock {start}-{end} is lost, error {}\n",
                e.to_errno()
            );
        }
    }
}
