// SPDX-License-Identifier: GPL-2.0

//! Processes of this machine, which may not lock what the clients of a scope in grace are about to reclaim.
//!
//! They wait in a function that livepatch has replaced, so they look around often: switching the livepatch off takes
//! until the last of them has left.

use crate::base::in_force;
use crate::base::syscall;
use crate::scopes::in_grace;
use crate::scopes::scope::Fsid;
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, CondVarTimeoutResult};
use kernel::time::msecs_to_jiffies;
use pin_init::stack_pin_init;

/// How often who waits looks around, in milliseconds.
const INTERVAL: u32 = 100;

/// The current task is about to do something with a lock on a file of this device: waits as long as it must not.
///
/// Fails with `EAGAIN` if the task does not want to wait, and with `ERESTARTSYS` after a signal. May sleep.
pub(crate) fn wait(device: &Fsid) -> Result {
    let kept_out = || in_force::is() && in_grace::keeps_out(device);
    if !kept_out() {
        return Ok(());
    }
    match syscall::lock_may_wait() {
        None => return Ok(()),
        Some(false) => return Err(EAGAIN),
        Some(true) => (),
    }
    // Nobody else knows them, and nobody wakes who waits.
    stack_pin_init!(let lock = new_mutex!((), "nfsd_ha::local"));
    stack_pin_init!(let nobody = new_condvar!("nfsd_ha::local"));
    let mut guard = lock.lock();
    while kept_out() {
        let wait = nobody.wait_interruptible_timeout(&mut guard, msecs_to_jiffies(INTERVAL));
        if let CondVarTimeoutResult::Signal { .. } = wait {
            return Err(ERESTARTSYS);
        }
    }
    Ok(())
}
