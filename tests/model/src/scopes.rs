// SPDX-License-Identifier: GPL-2.0

//! What stands in for the room of the same name.

/// What is exported: nothing.
pub(crate) mod exported {
    use crate::base::net::Net;

    pub(crate) fn forget(_: Net<'_>) {}
}

/// The request that a thread works on: nobody knows.
pub(crate) mod request {
    use core::net::IpAddr;

    pub(crate) struct Request;

    impl Request {
        /// # Safety
        ///
        /// As in the module.
        pub(crate) unsafe fn current() -> Option<Self> {
            None
        }

        pub(crate) fn server(&self) -> Option<IpAddr> {
            None
        }
    }
}
