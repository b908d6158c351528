// SPDX-License-Identifier: GPL-2.0

//! Who else uses files of lockd's, so that their file system cannot be unmounted, whatever lockd does.

use crate::base::index::{Index, KeyedHash};
use crate::base::siphash::SipHash;
use crate::base::user::User;
use crate::base::users;
use crate::nlm::lockd::NlmFile;
use kernel::prelude::*;

/// The first user of one of the files. May sleep.
pub(crate) fn find(files: &[&NlmFile<'_>]) -> Result<Option<User>> {
    if files.is_empty() {
        return Ok(None);
    }
    let (mut index, hash) = (Index::with_room(files.len())?, SipHash::random());
    let hash_of = |inode: usize| hash.hash(&inode.to_ne_bytes());
    for (at, file) in files.iter().enumerate() {
        index.insert(hash_of(file.inode().addr()), at);
    }
    Ok(users::find(&|inode| {
        let same = |at: usize| files[at].inode().addr() == inode.address;
        index.find(hash_of(inode.address), same).is_some()
    }))
}
