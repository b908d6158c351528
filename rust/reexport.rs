// SPDX-License-Identifier: GPL-2.0

//! What this machine, as a re-export server, does with what it has mounted by NFSv4.1 or later from an original server.
//!
//! ```text
//!   end client ---> nfsd, lockd of this machine ---> its NFS client ---> the original server
//! ```

pub(crate) mod end_clients;
pub(crate) mod file_systems;
pub(crate) mod holder;
pub(crate) mod nfs_client;
pub(crate) mod originals;
pub(crate) mod owners;
pub(crate) mod requests;
pub(crate) mod sender;
pub(crate) mod status;
