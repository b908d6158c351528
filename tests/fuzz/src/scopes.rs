// SPDX-License-Identifier: GPL-2.0

//! The room of the same name.

#[path = "../../../rust/scopes/grace.rs"]
pub(crate) mod grace;
#[path = "../../../rust/scopes/place.rs"]
pub(crate) mod place;
#[path = "../../../rust/scopes/scope.rs"]
pub(crate) mod scope;
#[path = "../../../rust/scopes/scoped.rs"]
pub(crate) mod scoped;
#[path = "../../../rust/scopes/subject.rs"]
pub(crate) mod subject;
#[path = "../../../rust/scopes/was_held.rs"]
pub(crate) mod was_held;
#[path = "../../../rust/scopes/wish.rs"]
pub(crate) mod wish;
