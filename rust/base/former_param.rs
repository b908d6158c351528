// SPDX-License-Identifier: GPL-2.0

//! The parameter `former_selves`: which clients keep their locks when they reboot.
//!
//! `all`, `off`, or clients' addresses with commas between them, in less than [`ROOM`] bytes.
//! C header: `include/linux/moduleparam.h`.

use crate::base::module_ref::this_module;
use crate::base::params::{bytes, modinfo, Param};
use core::cell::UnsafeCell;
use core::net::IpAddr;
use kernel::bindings::{self, kernel_param, kernel_param_ops, kparam_string};
use kernel::ffi::{c_char, c_int};
use kernel::prelude::*;
use kernel::str::CStr;

/// Bytes for the text, with the zero at its end.
const ROOM: usize = 1024;
const ALL: &str = "all";
const OFF: &str = "off";

/// The text: there is a zero after it.
struct Room(UnsafeCell<[u8; ROOM]>);

// SAFETY: It is used with the kernel's lock of this module's parameters held, and before that by who loads the module.
unsafe impl Sync for Room {}

static TEXT: Room = {
    let mut text = [0; ROOM];
    let (mut at, all) = (0, ALL.as_bytes());
    while at < all.len() {
        text[at] = all[at];
        at += 1;
    }
    Room(UnsafeCell::new(text))
};

/// The text as the kernel's operations want it.
#[repr(transparent)]
struct Place(kparam_string);

// SAFETY: It is not changed.
unsafe impl Sync for Place {}

static PLACE: Place = Place(kparam_string {
    maxlen: ROOM as u32,
    string: TEXT.0.get().cast(),
});

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// Does a text say what the parameter may be?
fn is_valid(text: &str) -> bool {
    matches!(text, ALL | OFF) || words(text).all(|word| word.parse::<IpAddr>().is_ok())
}

/// Are clients of this address to keep their locks? May sleep.
pub(crate) fn is_for(address: Option<IpAddr>) -> bool {
    let is_it = |word: &str| word.parse().ok() == address.map(|address| address.to_canonical());
    // SAFETY: Who sets the parameter holds the lock, too, and ends the text with a zero. It is this module's.
    unsafe {
        bindings::kernel_param_lock(this_module());
        let text = CStr::from_char_ptr(TEXT.0.get().cast());
        let is_for = match text.to_str() {
            Ok(ALL) => true,
            Ok(OFF) | Err(_) => false,
            Ok(text) => words(text).any(is_it),
        };
        bindings::kernel_param_unlock(this_module());
        is_for
    }
}

/// Sets the parameter.
///
/// # Safety
///
/// For the kernel, as an operation of this parameter, with its lock held, or while the module is loaded.
unsafe extern "C" fn set(text: *const c_char, _param: *const kernel_param) -> c_int {
    if text.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: The kernel gives a text with an end, and nobody else uses ours now.
    unsafe {
        let text = CStr::from_char_ptr(text)
            .to_str()
            .unwrap_or_default()
            .trim();
        if text.len() >= ROOM || !is_valid(text) {
            return EINVAL.to_errno();
        }
        let own = &mut *TEXT.0.get();
        own[..text.len()].copy_from_slice(text.as_bytes());
        own[text.len()] = 0;
    }
    0
}

static OPS: kernel_param_ops = kernel_param_ops {
    flags: 0,
    set: Some(set),
    get: Some(bindings::param_get_string),
    free: None,
};

#[used]
#[link_section = "__param"]
static PARAM: Param = Param::text(c"former_selves", &OPS, &PLACE.0);

const TYPE: &str = "parmtype=former_selves:string\0";
const HELP: &str = "parm=former_selves:Clients of NFSv4.1 and later that keep their locks when they reboot, \
                    until they have reclaimed them: all (default), off, or addresses with commas between them\0";
modinfo!(TYPE, HELP);
