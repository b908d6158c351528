// SPDX-License-Identifier: GPL-2.0

//! Processes of this machine that have a file open, as `fuser` finds them.
//!
//! A file that such a process has open keeps its file system from being unmounted, whatever
//! lockd does. nfsd's own open files are no process's: nfsd lets go of them when an export goes.
//!
//! C source: `iterate_fd()` in `fs/file.c`. Threads that do not share their process's files are
//! not looked at.

use crate::base::index::{Index, KeyedHash};
use crate::base::private::{self, task_struct};
use crate::base::raw::{list_entries, SpinGuard};
use crate::base::siphash::SipHash;
use crate::base::text::Text;
use crate::nlm::lockd::NlmFile;
use core::ffi::CStr;
use core::fmt;
use core::ptr::{self, addr_of_mut};
use kernel::error::from_err_ptr;
use kernel::ffi::{c_int, c_uint, c_void};
use kernel::prelude::*;
use kernel::sync::rcu;

/// Length of a path that is shown, in bytes.
const PATH_MAX: usize = 4096;

/// Open files of a process that are looked at in one go, with its locks held.
const BATCH: c_uint = 1024;

/// A process that has a file open.
pub(crate) struct Opener {
    /// Its number in the pid namespace of who asks, or 0 if it is not there.
    pid: private::pid_t,
    name: [u8; 16],
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = CStr::from_bytes_until_nul(&self.name).unwrap_or_default();
        let pid = self.pid;
        if pid == 0 {
            return f.write_str("open in a process of another pid namespace");
        }
        f.write_str("open in ")?;
        for byte in name.to_bytes().escape_ascii() {
            f.write_fmt(format_args!("{}", char::from(byte)))?;
        }
        write!(f, "[{pid}]")
    }
}

/// What is looked for, and what was found.
struct Search<'a> {
    files: &'a [NlmFile<'a>],
    /// The files by their inode.
    index: Index,
    hash: SipHash,
    found: Option<usize>,
    /// Open files that were looked at.
    looked_at: c_uint,
}

impl<'a> Search<'a> {
    fn new(files: &'a [NlmFile<'a>]) -> Result<Self> {
        let mut search = Search {
            files,
            index: Index::with_room(files.len())?,
            hash: SipHash::random(),
            found: None,
            looked_at: 0,
        };
        for (at, file) in files.iter().enumerate() {
            search.index.insert(search.hash_of(file.inode()), at);
        }
        Ok(search)
    }

    fn hash_of(&self, inode: *const private::inode) -> u64 {
        self.hash.hash(&inode.addr().to_ne_bytes())
    }

    /// Is this the inode of a file that is looked for? Then it is found.
    fn try_inode(&mut self, inode: *const private::inode) -> bool {
        let same = |at: usize| ptr::eq(self.files[at].inode(), inode);
        self.found = self.index.find(self.hash_of(inode), same);
        self.found.is_some()
    }
}

/// The first process that has one of the files open, and that file. May sleep.
pub(crate) fn find<'a>(files: &'a [NlmFile<'a>]) -> Result<Option<(&'a NlmFile<'a>, Opener)>> {
    let mut search = Search::new(files)?;
    let _guard = rcu::read_lock();
    // SAFETY: The list of processes changes under RCU, and this is a critical section. Its nodes are
    // in tasks.
    let tasks = unsafe {
        list_entries(addr_of_mut!(private::init_task.tasks))
            .map(|node| -> *mut task_struct { kernel::container_of!(node, task_struct, tasks) })
    };
    for task in tasks {
        let context: *mut c_void = (&raw mut search).cast();
        let mut next: c_uint = 0;
        loop {
            // SAFETY: A task that was in the list stays until the critical section ends. Its lock keeps
            // its files, or that it has none. The search outlives the call, and only the call uses it.
            next = unsafe {
                let _lock = SpinGuard::new(addr_of_mut!((*task).alloc_lock));
                let context = context.cast_const();
                private::iterate_fd((*task).files, next, Some(is_wanted), context) as c_uint
            };
            if next == 0 || search.found.is_some() {
                break;
            }
        }
        if let Some(at) = search.found {
            // SAFETY: The task stays until the critical section ends. Its name may change meanwhile, and
            // always ends.
            let opener = unsafe {
                let kind = private::pid_type_PIDTYPE_TGID;
                Opener {
                    pid: private::__task_pid_nr_ns(task, kind, ptr::null_mut()),
                    name: (*task).comm,
                }
            };
            return Ok(Some((&files[at], opener)));
        }
    }
    Ok(None)
}

/// Ends the search if an open file is one of those looked for, or after a batch with the number
/// of the next file.
///
/// # Safety
///
/// For `iterate_fd()`, with a `Search` that nobody else uses.
unsafe extern "C" fn is_wanted(
    context: *const c_void,
    file: *mut private::file,
    number: c_uint,
) -> c_int {
    // SAFETY: The context is what `find()` hands to `iterate_fd()`, which alone uses it during the call.
    // The file is open, and so has its inode.
    let (search, inode) = unsafe {
        let search = context.cast_mut().cast::<Search<'_>>();
        (&mut *search, (*file).f_inode)
    };
    if search.try_inode(inode) {
        return 1;
    }
    search.looked_at += 1;
    match search.looked_at % BATCH {
        0 => (number + 1) as c_int,
        _ => 0,
    }
}

/// Adds the path of a file of lockd's to a text, as the current process sees it. May sleep.
pub(crate) fn write_path(file: &NlmFile<'_>, text: &mut Text) -> Result {
    let open = file.any_open();
    let mut buffer: KVec<u8> = KVec::with_capacity(PATH_MAX, GFP_KERNEL)?;
    let space = buffer.spare_capacity_mut();
    // SAFETY: lockd's file is pinned, so that this one is open. The buffer is as long as it says, and
    // the path that is returned is in it, with an end.
    let path = unsafe {
        let path = private::d_path(
            &raw const (*open).__bindgen_anon_1.f_path,
            space.as_mut_ptr().cast(),
            space.len() as c_int,
        );
        kernel::str::CStr::from_char_ptr(from_err_ptr(path)?)
    };
    Ok(text.name(path.to_bytes())?)
}
