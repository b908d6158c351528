// SPDX-License-Identifier: GPL-2.0

//! Who on this machine uses a file, or a file system, so that it cannot be unmounted: as `fuser` finds them, and what the
//! kernel itself has open at an admin's command, as a loop device or for swap.
//!
//! nfsd's own open files are no user's: nfsd lets go of them when an export goes.

use crate::base::backing;
use crate::base::tasks;
use crate::base::user::{User, Wanted};

/// The first user of what is wanted. May sleep.
pub(crate) fn find(is_wanted: Wanted<'_>) -> Option<User> {
    backing::find(is_wanted).or_else(|| tasks::find(is_wanted))
}
