// SPDX-License-Identifier: GPL-2.0

//! The room of the same name, or what stands in for it.

#[path = "clock.rs"]
pub(crate) mod clock;
#[path = "global.rs"]
pub(crate) mod global;
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
#[path = "setup.rs"]
pub(crate) mod setup;
#[path = "siphash.rs"]
pub(crate) mod siphash;
