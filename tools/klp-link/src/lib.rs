// SPDX-License-Identifier: GPL-2.0

//! What the build steps share: the lists in include/, and kernel modules as files.

pub mod btf;
pub mod link;
pub mod modules;
pub mod symbols;
