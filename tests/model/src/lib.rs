// SPDX-License-Identifier: GPL-2.0

//! The module's concurrent files, as they are, with models of what is around them.

// What the module uses from other files is not used here.
#![allow(dead_code)]

// At each atomic operation, too, another thread may go on.
extern crate model_core as core;

mod base;
mod nfs4;
mod nlm;
mod scopes;
mod tracking;

#[cfg(test)]
mod book;
#[cfg(test)]
mod channel_test;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod explore;
#[cfg(test)]
mod holding_test;
#[cfg(test)]
mod law;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod tracker_test;
