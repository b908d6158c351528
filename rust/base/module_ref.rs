// SPDX-License-Identifier: GPL-2.0

//! References to kernel modules.

use core::ptr::NonNull;
use kernel::bindings;
use kernel::types::Opaque;

extern "C" {
    // `Opaque` is transparent, whatever the lint thinks of what is inside.
    #[allow(improper_ctypes)]
    static __this_module: Opaque<bindings::module>;
}

/// This module (`THIS_MODULE` in C). The kernel crate has it under different names from release
/// to release.
pub(crate) const fn this_module() -> *mut bindings::module {
    // SAFETY: modpost makes it, and it is there as long as this code. Only its address is taken.
    unsafe { __this_module.get() }
}

/// A reference to a module: while it lives, the module stays loaded.
///
/// Dropping the last reference to *this* module lets rmmod go on while the caller is still in
/// its text: the module's exit waits for such callers (see `nfsd_ha.rs`), so what follows the
/// drop must not sleep.
pub(crate) struct ModuleRef(NonNull<bindings::module>);

// SAFETY: A reference to a module may be given up by another thread than that which took it.
unsafe impl Send for ModuleRef {}
// SAFETY: There is nothing to share but the pointer, which is not changed.
unsafe impl Sync for ModuleRef {}

impl ModuleRef {
    /// A reference to this module; `None` if it is being unloaded.
    pub(crate) fn get() -> Option<Self> {
        // SAFETY: The module that this code belongs to is there.
        unsafe { Self::get_other(this_module()) }
    }

    /// A reference to `module`; `None` if it is being unloaded.
    ///
    /// # Safety
    ///
    /// The module's structure is valid during the call.
    pub(crate) unsafe fn get_other(module: *mut bindings::module) -> Option<Self> {
        // SAFETY: The structure is valid: that it may be about to go is what this looks at.
        if unsafe { bindings::try_module_get(module) } {
            NonNull::new(module).map(ModuleRef)
        } else {
            None
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
