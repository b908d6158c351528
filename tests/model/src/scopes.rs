// SPDX-License-Identifier: GPL-2.0

//! What stands in for the room of the same name.

/// What is exported: nothing.
pub(crate) mod exported {
    use crate::base::net::Net;

    pub(crate) fn forget(_: Net<'_>) {}
}
