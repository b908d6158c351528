// SPDX-License-Identifier: GPL-2.0

//! What the threads of this machine use of file systems: files that they have open or map, the program that
//! they run, and where they stand.
//!
//! All threads are gone through, by their numbers, as the main thread of a process may have exited. What one shares
//! with its main thread is not looked at twice. No lock is held from one thread to the next, and for so many files of
//! one only.
//!
//! C source: `iterate_fd()` in `fs/file.c`, `mt_find()` in `lib/maple_tree.c`, `include/linux/fs_struct.h`.

use crate::base::private::{self, task_struct};
use crate::base::raw::SpinGuard;
use crate::base::user::{How, User, Wanted};
use crate::base::vfs::{FileRef, OpenFile, Path, PathRef};
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::bindings;
use kernel::ffi::{c_int, c_uint, c_void};
use kernel::sync::aref::ARef;
use kernel::sync::rcu;
use kernel::task::Task;

/// Open files, or mappings, that are looked at in one go, with locks held.
const BATCH: usize = 1024;

/// Is the current thread one of the kernel's? Does not sleep.
pub(crate) fn is_kthread() -> bool {
    // SAFETY: The current task is there while it runs.
    let flags = unsafe {
        let task: *mut task_struct = bindings::get_current().cast();
        (&raw const (*task).flags).read_volatile()
    };
    flags & private::PF_KTHREAD != 0
}

/// A thread, and what it does not share with its main thread.
struct Thread {
    task: ARef<Task>,
    own_files: bool,
    own_fs: bool,
    own_mm: bool,
}

/// All threads that are there all the time, and some others.
#[derive(Default)]
struct Threads {
    next: c_int,
}

impl Iterator for Threads {
    type Item = Thread;

    fn next(&mut self) -> Option<Thread> {
        loop {
            let _guard = rcu::read_lock();
            // SAFETY: Numbers change under RCU, as in `find_ge_pid()`. A thread that is found by its number has a main
            // thread; the memory of both stays until the critical section ends, and pointers are read in one go,
            // only to be compared. A reference to it is handed over.
            unsafe {
                let numbers = addr_of_mut!(private::init_pid_ns.idr);
                let number = NonNull::new(private::idr_get_next(numbers, &raw mut self.next))?;
                self.next = self.next.checked_add(1)?;
                let kind = private::pid_type_PIDTYPE_PID;
                let task = private::get_pid_task(number.as_ptr().cast(), kind);
                let Some(found) = NonNull::new(task) else {
                    continue;
                };
                let main = (&raw const (*task).group_leader).read_volatile();
                let is_main = ptr::eq(task, main);
                macro_rules! own {
                    ($what:ident) => {
                        is_main
                            || (&raw const (*task).$what).read_volatile()
                                != (&raw const (*main).$what).read_volatile()
                    };
                }
                return Some(Thread {
                    task: ARef::from_raw(found.cast()),
                    own_files: own!(files),
                    own_fs: own!(fs),
                    // A thread of the kernel has that of others, at times.
                    own_mm: own!(mm)
                        && (&raw const (*task).flags).read_volatile() & private::PF_KTHREAD == 0,
                });
            }
        }
    }
}

/// What is looked for among open files, and what was found.
struct Search<'a> {
    is_wanted: Wanted<'a>,
    found: Option<PathRef>,
    looked_at: usize,
}

impl Thread {
    fn raw(&self) -> *mut task_struct {
        self.task.as_ptr().cast()
    }

    /// A file that it has open. Takes its `alloc_lock` and its `file_lock`.
    fn open_file(&self, is_wanted: Wanted<'_>) -> Option<PathRef> {
        let task = self.raw();
        let mut search = Search {
            is_wanted,
            found: None,
            looked_at: 0,
        };
        let context: *mut c_void = (&raw mut search).cast();
        let mut next: c_uint = 0;
        loop {
            // SAFETY: The task is valid. Its lock keeps its files, or that it has none. The search outlives the call,
            // and only the call uses it.
            next = unsafe {
                let _lock = SpinGuard::new(addr_of_mut!((*task).alloc_lock));
                let context = context.cast_const();
                private::iterate_fd((*task).files, next, Some(look_at), context) as c_uint
            };
            if next == 0 || search.found.is_some() {
                return search.found;
            }
        }
    }

    /// Where it stands, or what its root is. Takes its `alloc_lock` and the lock of its `fs_struct`.
    fn directory(&self, is_wanted: Wanted<'_>) -> Option<(How, PathRef)> {
        let task = self.raw();
        // SAFETY: The task is valid. Its lock keeps what it has of file systems, or that it has none; whose lock keeps
        // the two paths, which are those of directories.
        unsafe {
            let _lock = SpinGuard::new(addr_of_mut!((*task).alloc_lock));
            let fs = NonNull::new((*task).fs)?.as_ptr();
            let _fs_lock = SpinGuard::new(addr_of_mut!((*fs).seq.lock));
            [(How::StandsIn, (*fs).pwd), (How::IsIn, (*fs).root)]
                .map(|(how, path)| (how, Path::from_raw(path)))
                .into_iter()
                .find(|(_, path)| is_wanted(&path.inode()))
                .map(|(how, path)| (how, path.get()))
        }
    }

    /// A file that it runs or maps. Takes its `alloc_lock`.
    fn mapping(&self, is_wanted: Wanted<'_>) -> Option<(How, PathRef)> {
        let task = self.raw();
        let mut next = 0;
        loop {
            // SAFETY: The task is valid. Its lock keeps its memory, or that it has none. Mappings are found and go
            // under RCU; each has a reference to its file, if it has one.
            unsafe {
                let _lock = SpinGuard::new(addr_of_mut!((*task).alloc_lock));
                let mm = NonNull::new((*task).mm)?.as_ptr();
                let _guard = rcu::read_lock();
                let found = |slot, how| {
                    let file = FileRef::of_slot(slot)?;
                    is_wanted(&file.inode()).then(|| (how, file.path()))
                };
                if next == 0 {
                    let program = found(addr_of_mut!((*mm).__bindgen_anon_1.exe_file), How::Runs);
                    if program.is_some() {
                        return program;
                    }
                }
                let tree = addr_of_mut!((*mm).__bindgen_anon_1.mm_mt);
                for _ in 0..BATCH {
                    let area = private::mt_find(tree, &raw mut next, usize::MAX);
                    let area = NonNull::new(area.cast::<private::vm_area_struct>())?.as_ptr();
                    let mapped = found(addr_of_mut!((*area).vm_file), How::Maps);
                    if mapped.is_some() {
                        return mapped;
                    }
                }
            }
        }
    }

    /// The first thing that is wanted. Takes locks of the thread, one after the other.
    fn find(&self, is_wanted: Wanted<'_>) -> Option<User> {
        let open = || self.open_file(is_wanted).map(|path| (How::HasOpen, path));
        let (how, path) = None
            .or_else(|| self.own_files.then(open)?)
            .or_else(|| self.own_fs.then(|| self.directory(is_wanted))?)
            .or_else(|| self.own_mm.then(|| self.mapping(is_wanted))?)?;
        // SAFETY: The task is valid. Its name may change meanwhile: the copy may be of both.
        let name = unsafe { (&raw const (*self.raw()).comm).read_volatile() };
        let pid = self.task.tgid_nr_ns(None);
        Some(User::Process(path, how, name, pid))
    }
}

/// Waits until each task has slept, or has been in user space, once; not for those that sleep already. May sleep.
pub(crate) fn wait_for_all() {
    // SAFETY: It has no requirement but that who calls it may sleep.
    unsafe { private::synchronize_rcu_tasks() };
}

/// The first thread that uses what is wanted. May sleep.
pub(crate) fn find(is_wanted: Wanted<'_>) -> Option<User> {
    Threads::default().find_map(|thread| thread.find(is_wanted))
}

/// Ends the search if an open file is one of those looked for, or after a batch with the number
/// of the next file.
///
/// # Safety
///
/// For `iterate_fd()`, with a `Search` that nobody else uses.
unsafe extern "C" fn look_at(
    context: *const c_void,
    file: *mut private::file,
    number: c_uint,
) -> c_int {
    // SAFETY: The context is what `open_file()` hands to `iterate_fd()`, which alone uses it during the call.
    // The file is open, and stays so as long as the lock of its table is held.
    unsafe {
        let search = &mut *context.cast_mut().cast::<Search<'_>>();
        let file = OpenFile::from_raw(NonNull::new_unchecked(file));
        if (search.is_wanted)(&file.inode()) {
            search.found = Some(file.path());
            return 1;
        }
        search.looked_at += 1;
        match search.looked_at % BATCH {
            0 => (number + 1) as c_int,
            _ => 0,
        }
    }
}

/// Waits until all have gone on that are in a critical section of RCU, or cannot be preempted. May sleep; for some ten
/// milliseconds, as a rule.
pub(crate) fn synchronize_rcu() {
    // SAFETY: The caller may sleep, so it is in no critical section.
    unsafe { private::synchronize_rcu() };
}
