// SPDX-License-Identifier: GPL-2.0

//! The module's parameters: /sys/module/nfsd_ha/parameters, also writable there.
//!
//! The kernel crate's own parameters are not shown in sysfs and have no range.
//! C header: `include/linux/moduleparam.h`.

use crate::base::module_ref::this_module;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::bindings::{self, kernel_param, kernel_param_ops, kparam_string};
use kernel::ffi::{c_char, c_int};
use kernel::str::CStr;

/// How long an upcall waits for its answer, in milliseconds.
pub(crate) fn upcall_timeout() -> u32 {
    UPCALL_TIMEOUT.load(Ordering::Relaxed) * 1_000
}

/// How many upcalls the daemon has to answer at a time, at most.
pub(crate) fn upcalls_in_flight() -> usize {
    UPCALLS_IN_FLIGHT.load(Ordering::Relaxed) as usize
}

/// How long after a crash a server that starts knows which exports were held, in seconds.
pub(crate) fn holds_valid() -> u32 {
    HOLDS_VALID.load(Ordering::Relaxed)
}

/// Is this machine a re-export server, whose clients lock what it has mounted by NFSv4.1 or later?
pub(crate) fn reexport() -> bool {
    REEXPORT.load(Ordering::Relaxed) != 0
}

/// The group, in the initial user namespace, whose members may read our files; 0 if nobody but root may.
pub(crate) fn readers_gid() -> u32 {
    READERS_GID.load(Ordering::Relaxed)
}

/// The mode of the file of a parameter that can be set at any time, and of one that is set when the module is loaded.
const WRITABLE: u16 = 0o644;
const FIXED: u16 = 0o444;

/// Where the value of a parameter is.
type Value = bindings::kernel_param__bindgen_ty_1;

/// A parameter as the kernel's table has it.
#[repr(transparent)]
pub(crate) struct Param(kernel_param);

// SAFETY: The table is constant. What goes through it is serialised by the kernel's lock of parameters,
// and we read the value atomically.
unsafe impl Sync for Param {}

impl Param {
    /// A number, which may be set while the module is there if the mode of its file says so.
    const fn new(
        name: &'static CStr,
        ops: &'static kernel_param_ops,
        value: &'static AtomicU32,
        mode: u16,
    ) -> Self {
        let arg = value.as_ptr().cast();
        Self::of(name, ops, Value { arg }, mode)
    }

    /// A text.
    pub(crate) const fn text(
        name: &'static CStr,
        ops: &'static kernel_param_ops,
        place: &'static kparam_string,
    ) -> Self {
        Self::of(name, ops, Value { str_: place }, WRITABLE)
    }

    const fn of(
        name: &'static CStr,
        ops: &'static kernel_param_ops,
        value: Value,
        mode: u16,
    ) -> Self {
        Param(kernel_param {
            name: kernel::str::as_char_ptr_in_const_context(name),
            mod_: this_module(),
            ops,
            perm: mode,
            level: -1,
            flags: 0,
            __bindgen_anon_1: value,
        })
    }
}

/// A parameter: its value, its operations and what `modinfo` says.
macro_rules! param {
    ($name:ident, $value:ident, $default:literal, $min:literal..=$max:literal, $mode:ident, $text:literal) => {
        static $value: AtomicU32 = AtomicU32::new($default);

        const _: () = {
            /// Sets the parameter.
            ///
            /// # Safety
            ///
            /// For the kernel, as an operation of this parameter.
            unsafe extern "C" fn set(text: *const c_char, param: *const kernel_param) -> c_int {
                // SAFETY: The kernel calls this with a text and this parameter, whose value is an `unsigned int`.
                unsafe { bindings::param_set_uint_minmax(text, param, $min, $max) }
            }

            static OPS: kernel_param_ops = kernel_param_ops {
                flags: 0,
                set: Some(set),
                get: Some(bindings::param_get_uint),
                free: None,
            };

            #[used]
            #[link_section = "__param"]
            static PARAM: Param = Param::new(
                match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!("a name without an end"),
                },
                &OPS,
                &$value,
                $mode,
            );

            const TYPE: &str = concat!("parmtype=", stringify!($name), ":uint\0");
            const HELP: &str = concat!(
                "parm=",
                stringify!($name),
                ":",
                $text,
                " (",
                stringify!($min),
                " to ",
                stringify!($max),
                ", default ",
                stringify!($default),
                ")\0"
            );
            modinfo!(TYPE, HELP);
        };
    };
}

/// Puts texts, each with a zero at its end, among those that modinfo(8) shows.
macro_rules! modinfo {
    ($($text:ident),*) => {
        $(const _: () = {
            #[used]
            #[link_section = ".modinfo"]
            static TEXT: [u8; $text.len()] = bytes($text);
        };)*
    };
}
pub(crate) use modinfo;

/// The bytes of a text, as a value of their own.
pub(crate) const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}

param!(
    upcall_timeout,
    UPCALL_TIMEOUT,
    30,
    1..=600,
    WRITABLE,
    "Seconds that a request to the client tracking daemon waits for its answer"
);
param!(
    upcalls_in_flight,
    UPCALLS_IN_FLIGHT,
    128,
    1..=4096,
    WRITABLE,
    "Requests that the client tracking daemon has to answer at a time; more wait in line"
);
param!(
    holds_valid,
    HOLDS_VALID,
    300,
    10..=86400,
    WRITABLE,
    "Seconds after a crash in which a server that starts still knows which exports were held"
);
param!(
    readers_gid,
    READERS_GID,
    0,
    0..=4294967294,
    WRITABLE,
    "Group that may read the files in mounts of nfsd made from then on; 0: root only"
);
param!(
    reexport,
    REEXPORT,
    0,
    0..=1,
    FIXED,
    "1: clients may lock what this machine re-exports, and keep their locks when it reboots; set it when the module is loaded"
);
