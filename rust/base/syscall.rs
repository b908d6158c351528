// SPDX-License-Identifier: GPL-2.0

//! The system call of the current task.
//!
//! C source: `lib/syscall.c`.

use crate::base::private;

/// What file locks are asked for: `fcntl()` and `flock()`, `fcntl64()` of 32-bit tasks, by their numbers in the two tables of
/// `arch/x86/entry/syscalls`. In the other table, these are calls that lock nothing.
const FCNTL: [i32; 3] = [72, 55, 221];
const FLOCK: [i32; 2] = [73, 143];

/// If the current task is asking for a file lock, or to let go of one: may it wait? `None` if it is in another system
/// call, as one that sets a lease, or in none. Does not sleep.
pub(crate) fn lock_may_wait() -> Option<bool> {
    let mut info = private::syscall_info {
        sp: 0,
        data: private::seccomp_data {
            nr: 0,
            arch: 0,
            instruction_pointer: 0,
            args: [0; 6],
        },
    };
    // SAFETY: The task is the current one: its own registers are read, if there are any.
    let result =
        unsafe { private::task_current_syscall(kernel::current!().as_ptr().cast(), &mut info) };
    // The second argument of both is an int.
    let (number, word) = (info.data.nr, info.data.args[1] as u32);
    match word {
        _ if result != 0 => None,
        _ if FLOCK.contains(&number) => Some(word & private::LOCK_NB == 0),
        _ if !FCNTL.contains(&number) => None,
        private::F_SETLKW | private::F_SETLKW64 | private::F_OFD_SETLKW => Some(true),
        private::F_SETLK | private::F_SETLK64 | private::F_OFD_SETLK => Some(false),
        _ => None,
    }
}
