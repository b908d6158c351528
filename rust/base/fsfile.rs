// SPDX-License-Identifier: GPL-2.0

//! Files in the superblocks of nfsd's file system.
//!
//! The superblock is nfsd's, the inode's operations are ours: a file that is open keeps this
//! module loaded (`file_operations.owner`), and when the files are removed, their inodes lose
//! our operations, as an inode may be open without them (`O_PATH`) and opened again later.
//!
//! A read from the beginning shows what there is at that time. The text is made as a whole, in memory that is charged
//! to the reader's cgroup, before any of it is copied: a reader that does not go on, or whose memory does not come,
//! keeps only those waiting who read the same open file. After a write that has a result, reads on the same open file
//! show that, from its beginning, as with nfsd's own transaction files.

use crate::base::in_force;
use crate::base::module_ref::this_module;
use crate::base::net::{Net, Nfsd};
use crate::base::params;
use crate::base::private::{self, super_block};
use crate::base::text::Text;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use kernel::error::from_err_ptr;
use kernel::ffi::{c_char, c_int, c_void};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::poll::PollTable;
use kernel::sync::{new_mutex, Mutex};
use kernel::types::ForeignOwnable;
use kernel::uaccess::{UserPtr, UserSlice};

/// Inode numbers under this are those of nfsd's own files (`NFSD_MaxReserved`).
const RESERVED_INODES: private::ino_t = 100;
/// Longest write, in bytes.
const WRITE_MAX: usize = 4096;
/// What `poll()` may find (`include/uapi/linux/eventpoll.h`).
const EPOLLIN: private::__poll_t = 1;
const EPOLLPRI: private::__poll_t = 2;
const EPOLLOUT: private::__poll_t = 4;
/// A regular file (`S_IFREG`).
const REGULAR: u16 = 0o100_000;

/// What a write does.
pub(crate) type Command = fn(&Opened, &[u8], &mut Text) -> Result;

/// A kind of file.
pub(crate) struct Kind {
    /// Its name.
    pub(crate) name: &'static CStr,
    /// What it shows for a net namespace. May sleep.
    pub(crate) show: fn(Nfsd<'_>, &mut Text) -> Result,
    /// A command was written, at most a page. What it adds to the text is what a read on the
    /// same open file shows next, also if it fails. Whoever may open the file for writing also needs
    /// CAP_SYS_ADMIN in the user namespace that owns the mount. May sleep.
    pub(crate) write: Option<Command>,
    /// Says when there is something new to read.
    pub(crate) news: Option<News>,
}

impl Kind {
    /// Its permissions: those of its owner, and that others who are in a group may read it.
    fn mode(&self, group: bool) -> u16 {
        let owner = if self.write.is_some() { 0o600 } else { 0o400 };
        let readers = if group { 0o040 } else { 0 };
        owner | readers
    }
}

/// What a reader may wait for.
pub(crate) struct News {
    /// The number of the last change.
    pub(crate) sequence: fn() -> u64,
    /// Makes a poller wait for the next.
    pub(crate) register: fn(&PollTable<'_>, &File),
    /// An open file is closed. May sleep.
    pub(crate) closed: fn(&Opened),
}

/// An open file.
///
/// # Invariants
///
/// `net` is the namespace of the mount that the file is in. As long as this lives the file is open, so the mount
/// is there, and keeps the namespace alive and nfsd loaded.
#[pin_data]
pub(crate) struct Opened {
    kind: &'static Kind,
    net: NonNull<private::net>,
    /// It does not want to wait (`O_NONBLOCK` when it was opened).
    pub(crate) nonblocking: bool,
    #[pin]
    state: Mutex<State>,
}

/// What an open file has in its `private_data`.
type Owned = Pin<KBox<Opened>>;

#[derive(Default)]
struct State {
    text: Text,
    /// The text is the result of a write.
    answer: bool,
    /// The last change that the text shows.
    seen: Option<u64>,
}

/// The operations of our files.
struct Operations(private::file_operations);

// SAFETY: They are constant, and what they lead to is this module's text.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(private::file_operations {
    owner: this_module().cast(),
    open: Some(open),
    read: Some(read),
    write: Some(write),
    poll: Some(poll),
    llseek: Some(private::default_llseek),
    release: Some(release),
    // No other operation.
    ..pin_init::zeroed()
});

/// A mount of nfsd's file system.
///
/// # Invariants
///
/// For `'a` the superblock is there and has a root, and its `s_umount` is held. As it is one of nfsd's, it has a
/// reference to its net namespace, and nfsd stays loaded.
pub(crate) struct Superblock<'a>(*mut super_block, PhantomData<&'a super_block>);

impl<'a> Superblock<'a> {
    /// The superblock.
    ///
    /// # Safety
    ///
    /// `sb` is one of nfsd's and has a root, and its `s_umount` is held for `'a`.
    pub(crate) unsafe fn from_raw(sb: *mut super_block) -> Self {
        // INVARIANT: By this function's requirement.
        Superblock(sb, PhantomData)
    }

    /// nfsd in its net namespace.
    pub(crate) fn nfsd(&self) -> Nfsd<'a> {
        // SAFETY: The superblock is there, by the type's invariant; `s_fs_info` is its namespace, to which it has a
        // reference, and nfsd is loaded.
        unsafe { Nfsd::new(Net::from_raw((*self.0).s_fs_info.cast())) }
    }
}

/// Adds a file to a superblock; one that has it already stays as it is. May sleep.
pub(crate) fn add(sb: &Superblock<'_>, kind: &'static Kind) -> Result {
    let sb = sb.0;
    let gid = params::readers_gid();
    // SAFETY: The superblock is there and locked, by its type's invariant; a kind of file is static. The steps
    // are those of `nfsdfs_create_files()`: a dentry that `simple_start_creating()` returns has its parent locked
    // until `simple_done_creating()`, and takes over the inode.
    unsafe {
        let dentry = private::simple_start_creating((*sb).s_root, kind.name.as_char_ptr());
        let dentry = match from_err_ptr(dentry) {
            Err(e) if e == EEXIST => return Ok(()),
            result => result?,
        };
        let inode = private::new_inode(sb);
        if !inode.is_null() {
            (*inode).i_ino = private::iunique(sb, RESERVED_INODES) as u64;
            (*inode).i_mode = REGULAR | kind.mode(gid != 0);
            (*inode).i_gid.val = gid;
            (*inode).i_private = ptr::from_ref(kind).cast_mut().cast();
            (*inode).__bindgen_anon_3.i_fop = &raw const OPERATIONS.0;
            private::simple_inode_init_ts(inode);
            private::d_make_persistent(dentry, inode);
        }
        private::simple_done_creating(dentry);
        if inode.is_null() {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }
}

/// Removes a file from a superblock, if it is there. May sleep.
pub(crate) fn remove(sb: &Superblock<'_>, kind: &Kind) {
    let sb = sb.0;
    // SAFETY: The superblock is there and locked, by its type's invariant; under this name there is nothing but
    // what `add()` made.
    unsafe { private::simple_remove_by_name((*sb).s_root, kind.name.as_char_ptr(), Some(disarm)) };
}

/// Takes our operations from an inode. Whoever has read them and not yet asked for a reference
/// to this module does not sleep in between, and the module's exit waits for such tasks.
///
/// # Safety
///
/// For `simple_remove_by_name()`, with the dentry of a file of ours.
unsafe extern "C" fn disarm(dentry: *mut private::dentry) {
    // SAFETY: The dentry that is being removed has an inode, which we made in `add()`.
    unsafe { private::make_bad_inode((*dentry).d_inode) };
}

/// Opens a file of ours.
///
/// # Safety
///
/// For the VFS, with an inode of a file of ours.
unsafe extern "C" fn open(inode: *mut private::inode, file: *mut private::file) -> c_int {
    // SAFETY: The VFS calls this for an inode that `add()` made in nfsd's file system, and for a file that nobody else
    // knows yet.
    let opened = unsafe {
        let kind = &*(*inode).i_private.cast::<Kind>();
        // INVARIANT: nfsd's superblock has its namespace there, and who opens a file has its mount.
        let net = NonNull::new_unchecked((*(*inode).i_sb).s_fs_info.cast());
        let nonblocking = (*file).f_flags & private::O_NONBLOCK != 0;
        let opened = KBox::pin_init(
            pin_init!(Opened {
                kind,
                net,
                nonblocking,
                state <- new_mutex!(State::default(), "nfsd_ha::Opened"),
            }),
            GFP_KERNEL_ACCOUNT,
        );
        opened.map(|opened: Owned| (*file).private_data = opened.into_foreign())
    };
    opened.map_or_else(|e| e.to_errno(), |()| 0)
}

/// The last close.
///
/// # Safety
///
/// For the VFS, with a file that `open()` set up.
unsafe extern "C" fn release(_: *mut private::inode, file: *mut private::file) -> c_int {
    // SAFETY: `open()` put it there, and this is its last use.
    let opened = unsafe { Owned::from_foreign((*file).private_data) };
    if let Some(news) = &opened.kind.news {
        (news.closed)(&opened);
    }
    0
}

/// Reads.
///
/// # Safety
///
/// For the VFS, with a file that `open()` set up.
unsafe extern "C" fn read(
    file: *mut private::file,
    to: *mut c_char,
    len: usize,
    position: *mut private::loff_t,
) -> isize {
    // SAFETY: `open()` has set up the file, and `release()` comes after this. The position is a variable of the VFS's
    // own for it, which nobody else uses.
    let (opened, position) = unsafe { (Owned::borrow((*file).private_data), &mut *position) };
    match opened.read(user_ptr(to), len, position) {
        Ok(n) => n as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// Writes.
///
/// # Safety
///
/// For the VFS, with a file that `open()` set up.
unsafe extern "C" fn write(
    file: *mut private::file,
    from: *const c_char,
    len: usize,
    position: *mut private::loff_t,
) -> isize {
    // SAFETY: The file is open during the call, with what `open()` has set up, and keeps its inode and mount, whose user
    // namespace never changes. The position is a variable of the VFS's own for this call.
    unsafe {
        let opened = Owned::borrow((*file).private_data);
        let owner = (*(*(*file).f_inode).i_sb).s_user_ns;
        if !private::file_ns_capable(file, owner, private::CAP_SYS_ADMIN as c_int) {
            return EPERM.to_errno() as isize;
        }
        match opened.write(user_ptr(from), len) {
            Ok(n) => {
                *position = 0;
                n as isize
            }
            Err(e) => {
                *position = 0;
                e.to_errno() as isize
            }
        }
    }
}

/// Says whether a read would show something new.
///
/// # Safety
///
/// For the VFS, with a file that `open()` set up.
unsafe extern "C" fn poll(
    file: *mut private::file,
    table: *mut private::poll_table_struct,
) -> private::__poll_t {
    // SAFETY: The file is open during the call, with what `open()` has set up, and the table is the caller's or null. Who
    // polls has no position of the file (`fdget()`).
    unsafe {
        let opened = Owned::borrow((*file).private_data);
        let Some(news) = &opened.kind.news else {
            return EPOLLIN | EPOLLOUT;
        };
        let table = PollTable::from_raw(table.cast());
        (news.register)(&table, File::from_raw_file(file.cast()));
        let new = opened.state.lock().seen != Some((news.sequence)());
        EPOLLOUT | if new { EPOLLIN | EPOLLPRI } else { 0 }
    }
}

fn user_ptr(raw: *const c_char) -> UserPtr {
    UserPtr::from_ptr(raw.cast_mut().cast::<c_void>())
}

impl Opened {
    /// nfsd, and the net namespace of the file's mount.
    pub(crate) fn nfsd(&self) -> Nfsd<'_> {
        // SAFETY: The mount is there while the file is open, and keeps the namespace alive and nfsd loaded, by the
        // type's invariant.
        unsafe { Nfsd::new(Net::from_raw(self.net.as_ptr())) }
    }

    /// Reads from a position. May sleep.
    fn read(&self, to: UserPtr, len: usize, position: &mut i64) -> Result<usize> {
        let mut state = self.state.lock();
        if *position == 0 && !state.answer {
            let mut text = Text::default();
            state.seen = self.kind.news.as_ref().map(|news| (news.sequence)());
            (self.kind.show)(self.nfsd(), &mut text).map_err(|e| text.error().unwrap_or(e))?;
            state.text = text;
        }
        let rest = usize::try_from(*position)
            .ok()
            .and_then(|at| state.text.bytes().get(at..))
            .unwrap_or(&[]);
        let part = &rest[..rest.len().min(len)];
        UserSlice::new(to, len).writer().write_slice(part)?;
        *position += part.len() as i64;
        Ok(part.len())
    }

    /// Does the command that was written. May sleep.
    ///
    /// Fails with `EINVAL` if the file takes none or this is not one, with `ENODEV` unless all threads of nfsd and
    /// lockd will keep to it, and as the command does.
    fn write(&self, from: UserPtr, len: usize) -> Result<usize> {
        let run = self.kind.write.ok_or(EINVAL)?;
        in_force::check()?;
        if len > WRITE_MAX {
            return Err(EINVAL);
        }
        let mut data = KVec::with_capacity(len, GFP_KERNEL_ACCOUNT)?;
        UserSlice::new(from, len).read_all(&mut data, GFP_KERNEL_ACCOUNT)?;
        let mut text = Text::default();
        let last = self.kind.news.as_ref().map(|news| (news.sequence)());
        let result = run(self, &data, &mut text);
        let mut state = self.state.lock();
        if result.is_ok() || !text.bytes().is_empty() {
            state.answer = !text.bytes().is_empty();
            state.text = text;
            if state.answer {
                state.seen = last;
            }
        }
        result.map(|()| len)
    }
}
