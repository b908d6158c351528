// SPDX-License-Identifier: GPL-2.0
//! System calls with any arguments, bad pointers among them.

use anyhow::Result;
use libc::{c_int, c_ulong, c_void, iovec};
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use std::ffi::CString;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a call returned: a number, or an errno.
pub type Outcome = Result<usize, i32>;

/// Memory of this process, or not: an address and a length.
pub type Range = (usize, usize);

fn outcome(result: i64) -> Outcome {
    usize::try_from(result).map_err(|_| Error::last_os_error().raw_os_error().unwrap_or(0))
}

extern "C" fn nothing(_: c_int) {}

/// Has SIGUSR1 do nothing but interrupt what a thread waits for.
pub fn let_signals_interrupt() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: The handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action)? };
    Ok(())
}

/// The number of this thread.
pub fn thread_id() -> c_int {
    // SAFETY: No memory is involved, here and below where only numbers are passed.
    unsafe { libc::gettid() }
}

/// Interrupts a thread of this process.
pub fn interrupt(thread: c_int) {
    // SAFETY: As above.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
}

pub fn open(path: &Path, flags: c_int) -> Result<OwnedFd, i32> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)?;
    // SAFETY: The path ends with a zero, and a file that was opened is nobody else's.
    unsafe {
        let fd = libc::open(path.as_ptr(), flags | libc::O_CLOEXEC);
        outcome(fd.into())?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

// What these write to is memory that nothing of Rust's is in, or none: see `Memory`.

pub fn write(fd: &OwnedFd, (at, len): Range) -> Outcome {
    // SAFETY: The kernel only reads, and checks the address.
    outcome(unsafe { libc::write(fd.as_raw_fd(), at as *const c_void, len) } as i64)
}

pub fn pwrite(fd: &OwnedFd, (at, len): Range, offset: i64) -> Outcome {
    // SAFETY: As for write().
    outcome(unsafe { libc::pwrite(fd.as_raw_fd(), at as *const c_void, len, offset) } as i64)
}

pub fn writev(fd: &OwnedFd, parts: &[Range]) -> Outcome {
    let parts: Vec<iovec> = parts
        .iter()
        .map(|(at, len)| iovec {
            iov_base: *at as *mut c_void,
            iov_len: *len,
        })
        .collect();
    // SAFETY: As for write().
    outcome(unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr(), parts.len() as c_int) } as i64)
}

pub fn read(fd: &OwnedFd, (at, len): Range) -> Outcome {
    // SAFETY: As said above; the kernel checks the address.
    outcome(unsafe { libc::read(fd.as_raw_fd(), at as *mut c_void, len) } as i64)
}

pub fn pread(fd: &OwnedFd, (at, len): Range, offset: i64) -> Outcome {
    // SAFETY: As for read().
    outcome(unsafe { libc::pread(fd.as_raw_fd(), at as *mut c_void, len, offset) } as i64)
}

pub fn lseek(fd: &OwnedFd, offset: i64, whence: c_int) -> Outcome {
    // SAFETY: Numbers only.
    outcome(unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) })
}

pub fn truncate(fd: &OwnedFd, len: i64) -> Outcome {
    // SAFETY: Numbers only.
    outcome(unsafe { libc::ftruncate(fd.as_raw_fd(), len) }.into())
}

pub fn sync(fd: &OwnedFd) -> Outcome {
    // SAFETY: Numbers only.
    outcome(unsafe { libc::fsync(fd.as_raw_fd()) }.into())
}

pub fn poll(fd: &OwnedFd) -> Outcome {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: -1,
        revents: 0,
    };
    // SAFETY: One structure, of which the kernel is told.
    outcome(unsafe { libc::poll(&mut poll, 1, 0) }.into())
}

pub fn ioctl(fd: &OwnedFd, number: c_ulong, (at, _): Range) -> Outcome {
    // SAFETY: As for read(): what none of the files knows does nothing, and FIONREAD writes a number.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), number, at) }.into())
}
