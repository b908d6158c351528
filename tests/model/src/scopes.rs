// SPDX-License-Identifier: GPL-2.0

//! The room of the same name, or what stands in for it.

/// Which servers' grace periods are for some exports only.
pub(crate) mod exempt {
    use crate::base::global::Global;
    use crate::scopes::place::ExportId;
    use crate::scopes::place::Place;
    use crate::scopes::subject::Subject;
    use crate::scopes::was_held::WasHeld;
    use kernel::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    static EXEMPT: Global<Mutex<BTreeMap<u64, WasHeld>>> = Global::new();

    pub(crate) fn begin(net: u64, held: WasHeld) -> Result {
        EXEMPT.lock().unwrap().insert(net, held);
        Ok(())
    }

    pub(crate) fn end(net: u64) {
        EXEMPT.lock().unwrap().remove(&net);
    }

    /// Is an export exempt, for those who are in the way of clients of these kinds?
    pub(crate) fn is_exempt(net: u64, export: ExportId, kinds: u32) -> bool {
        let place = Place {
            export: Some(export.fsid),
            file_system: Some(export.file_system),
            ..Place::default()
        };
        let subject = Subject {
            files: [place, Place::default()],
            ..Subject::default()
        };
        let all = EXEMPT.lock().unwrap();
        all.get(&net)
            .is_some_and(|held| held.exempts(&subject, kinds))
    }
}
/// What is exported: nobody asks.
pub(crate) mod exported {
    use crate::base::net::Net;

    pub(crate) fn forget(_: Net<'_>) {}
}
/// Why requests are looked at: they always are.
pub(crate) mod in_grace {
    pub(crate) enum Reason {
        Holds,
    }

    pub(crate) fn ask_for(_: Reason, _: bool) {}
}
#[path = "../../../rust/scopes/place.rs"]
pub(crate) mod place;
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
#[path = "../../../rust/scopes/scope.rs"]
pub(crate) mod scope;
#[path = "../../../rust/scopes/subject.rs"]
pub(crate) mod subject;
#[path = "../../../rust/scopes/was_held.rs"]
pub(crate) mod was_held;
