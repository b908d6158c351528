// SPDX-License-Identifier: GPL-2.0

//! Livepatches: replacing functions of kernel modules and of the kernel itself, in the kernel's sanctioned way.
//!
//! C header: `include/linux/livepatch.h`. The structures are statics, as the kernel links them
//! into its lists for as long as this module is loaded.

use crate::base::module_ref::ModuleRef;
use crate::base::private::{klp_callbacks, klp_func, klp_object, klp_patch};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::error::to_result;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::str::{as_char_ptr_in_const_context, CStr};
use kernel::sync::rcu;

/// A function to replace.
#[repr(transparent)]
pub(crate) struct Func(UnsafeCell<klp_func>);

// SAFETY: Only livepatch uses what is inside, from any thread, and sees to that itself.
unsafe impl Sync for Func {}

impl Func {
    /// Ends a list of functions.
    pub(crate) const fn end() -> Self {
        // SAFETY: All zeros is a value of this type: numbers, pointers that may be null, and lists that livepatch
        // initialises. It is the one that ends a list.
        Func(UnsafeCell::new(unsafe { core::mem::zeroed() }))
    }

    /// Replaces `old`, a function of the object, by `new`.
    ///
    /// # Safety
    ///
    /// `new` points to a function of the same type as `old`, that keeps what the callers of
    /// `old` rely on. It must hold a [`ModuleRef`](crate::base::module_ref::ModuleRef) while it
    /// sleeps: the compiler may turn its last call into a jump, and then livepatch cannot see
    /// on the stack that this module is in use.
    pub(crate) const unsafe fn new(old: &'static CStr, new: *const c_void) -> Self {
        let mut func = Self::end().0.into_inner();
        func.old_name = as_char_ptr_in_const_context(old);
        func.new_func = new.cast_mut();
        Func(UnsafeCell::new(func))
    }
}

/// A kernel module or the kernel itself, and what to replace in it.
#[repr(transparent)]
pub(crate) struct Object(UnsafeCell<klp_object>);

// SAFETY: Only livepatch uses what is inside, from any thread, and sees to that itself.
unsafe impl Sync for Object {}

impl Object {
    /// Ends a list of objects.
    pub(crate) const fn end() -> Self {
        // SAFETY: All zeros is a value of this type, and the one that ends a list.
        Object(UnsafeCell::new(unsafe { core::mem::zeroed() }))
    }

    /// The functions to replace in the module `name`, or without a name in the kernel itself, ended by
    /// [`Func::end()`]; with none, the object is there for its symbols only. The callbacks are called under livepatch's lock
    /// (`klp_mutex`), which the loading of every module takes: they must not wait for anything
    /// that a mount or a server holds.
    pub(crate) const fn new(
        name: Option<&'static CStr>,
        funcs: &'static [Func],
        callbacks: klp_callbacks,
    ) -> Self {
        assert!(!funcs.is_empty(), "Func::end() is missing");
        let mut object = Self::end().0.into_inner();
        if let Some(name) = name {
            object.name = as_char_ptr_in_const_context(name);
        }
        object.funcs = funcs.as_ptr().cast_mut().cast();
        object.callbacks = callbacks;
        Object(UnsafeCell::new(object))
    }
}

/// No callbacks.
// SAFETY: All zeros is a value of this type: callbacks that are not there.
pub(crate) const NO_CALLBACKS: klp_callbacks = unsafe { core::mem::zeroed() };

/// Does a function of the kernel's begin with `ENDBR64`, or what takes its place, and a call of `__fentry__` or what takes
/// its (`gen_endbr_poison()` in `arch/x86/include/asm/ibt.h`, and what ftrace makes of the call)? `klp-link` takes this for
/// granted where it cannot see the kernel's code, and calls lead behind that.
///
/// # Safety
///
/// It is the address of a function.
pub(crate) unsafe fn begins_as_usual(function: *const c_void) -> bool {
    // SAFETY: The code of a function can be read.
    let start = unsafe { function.cast::<[u8; 9]>().read() };
    let call = match start {
        [0xf3, 0x0f, 0x1e, 0xfa, call @ ..] | [0x0f, 0x1f, 0x40, 0xd6, call @ ..] => call,
        // A kernel without IBT.
        [call @ .., _, _, _, _] => call,
    };
    matches!(call, [0xe8, ..] | [0x0f, 0x1f, 0x44, 0x00, 0x00])
}

/// A livepatch: all that this module replaces.
pub(crate) struct Patch(UnsafeCell<klp_patch>);

// SAFETY: Only livepatch uses what is inside, from any thread, and sees to that itself.
unsafe impl Sync for Patch {}

impl Patch {
    /// A livepatch of `objects`, ended by [`Object::end()`].
    pub(crate) const fn new(objects: &'static [Object]) -> Self {
        assert!(!objects.is_empty(), "Object::end() is missing");
        // SAFETY: All zeros is a value of this type, as for `Func`.
        let mut patch: klp_patch = unsafe { core::mem::zeroed() };
        patch.objs = objects.as_ptr().cast_mut().cast();
        Patch(UnsafeCell::new(patch))
    }

    /// Puts the livepatch in force, object by object as these are loaded. May sleep.
    ///
    /// Fails if a function to replace is not there, or is not known by that name only.
    ///
    /// # Safety
    ///
    /// Called once, from this module's init, for a static whose lists end as they should.
    pub(crate) unsafe fn enable(&'static self, module: &'static ThisModule) -> Result {
        let patch = self.0.get();
        // SAFETY: Nobody else knows the patch before `klp_enable_patch()`, and, as the caller says,
        // all that it leads to is static. It takes the module for what it is.
        unsafe {
            ptr::addr_of_mut!((*patch).mod_).write(module.as_ptr().cast());
            OBJECTS.store((*patch).objs, Ordering::Release);
            to_result(crate::base::private::klp_enable_patch(patch))
        }
    }
}

/// The objects of the livepatch that was enabled, or null.
static OBJECTS: AtomicPtr<klp_object> = AtomicPtr::new(ptr::null_mut());

/// A module that is an object of the livepatch, if it is loaded, and livepatch has resolved what is used of it. Does
/// not sleep.
pub(crate) fn module(name: &CStr) -> Option<ModuleRef> {
    let _guard = rcu::read_lock();
    let mut object = OBJECTS.load(Ordering::Acquire);
    // SAFETY: The list is static, has an end, and its names do not change. livepatch sets an object's module when this
    // comes, before it is live, and takes it back when it goes, a grace period of RCU before it is freed.
    unsafe {
        while !object.is_null() && !(*object).funcs.is_null() {
            // The kernel itself has no name.
            let own = (*object).name;
            if !own.is_null() && CStr::from_char_ptr(own) == name {
                let module = NonNull::new((&raw const (*object).mod_).read_volatile())?;
                return ModuleRef::get_live(module.as_ptr());
            }
            object = object.add(1);
        }
    }
    None
}
