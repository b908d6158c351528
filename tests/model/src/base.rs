// SPDX-License-Identifier: GPL-2.0

//! The room of the same name, or what stands in for it.

#[path = "clock.rs"]
pub(crate) mod clock;
#[path = "global.rs"]
pub(crate) mod global;
/// Do all threads run the module's functions? A schedule says so.
pub(crate) mod in_force {
    use std::cell::Cell;

    thread_local! {
        static IN_FORCE: Cell<bool> = const { Cell::new(true) };
        static CHANGES: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn is() -> bool {
        IN_FORCE.get()
    }

    pub(crate) fn set(in_force: bool) {
        IN_FORCE.set(in_force);
        CHANGES.set(CHANGES.get() + 1);
    }

    pub(crate) fn changes() -> u64 {
        CHANGES.get()
    }
}
#[path = "../../../rust/base/index.rs"]
pub(crate) mod index;
#[path = "module_ref.rs"]
pub(crate) mod module_ref;
#[path = "net.rs"]
pub(crate) mod net;
#[path = "params.rs"]
pub(crate) mod params;
#[path = "private.rs"]
pub(crate) mod private;
#[path = "../../../rust/base/recent.rs"]
pub(crate) mod recent;
#[path = "setup.rs"]
pub(crate) mod setup;
#[path = "siphash.rs"]
pub(crate) mod siphash;
#[path = "../../../rust/base/table.rs"]
pub(crate) mod table;
