// SPDX-License-Identifier: GPL-2.0

//! Livepatches: replacing functions of kernel modules and of the kernel itself, in the kernel's sanctioned way.
//!
//! C header: `include/linux/livepatch.h`. The structures are statics, as the kernel links them
//! into its lists for as long as this module is loaded.

use crate::base::module_ref::ModuleRef;
use crate::base::private::{self, klp_callbacks, klp_func, klp_object, klp_patch};
use crate::base::setup::Setup;
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
    const fn end() -> Self {
        Func(UnsafeCell::new(pin_init::zeroed()))
    }

    /// Replaces `old` by `new`.
    pub(crate) const fn new(old: &'static CStr, new: *const c_void) -> Self {
        let mut func = Self::end().0.into_inner();
        func.old_name = as_char_ptr_in_const_context(old);
        func.new_func = new.cast_mut();
        Func(UnsafeCell::new(func))
    }
}

/// Functions to replace in an object, as livepatch wants them: one after the other, and then the end; and which object
/// that is, and what livepatch calls.
#[repr(C)]
pub(crate) struct Funcs<const N: usize> {
    funcs: [Func; N],
    end: Func,
    object: Option<&'static CStr>,
    callbacks: klp_callbacks,
}

impl<const N: usize> Funcs<N> {
    /// Those of the module `object`, or without a name of the kernel itself. The callbacks are called under livepatch's
    /// lock (`klp_mutex`), which the loading of every module takes: they must not wait for anything that a mount or a
    /// server holds.
    ///
    /// # Safety
    ///
    /// Each function is replaced by one of the same type, that keeps what the callers of that function of this object
    /// rely on. One that sleeps stays on the stack meanwhile, so that livepatch sees there that this module is in use, or
    /// holds a [`ModuleRef`]. The callbacks may be called with this object.
    pub(crate) const unsafe fn new(
        object: Option<&'static CStr>,
        callbacks: klp_callbacks,
        funcs: [Func; N],
    ) -> Self {
        Funcs {
            funcs,
            end: Func::end(),
            object,
            callbacks,
        }
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        N
    }
}

impl Funcs<0> {
    /// None of the module `object`, which is an object for its symbols.
    pub(crate) const fn none(object: &'static CStr) -> Self {
        Funcs {
            funcs: [],
            end: Func::end(),
            object: Some(object),
            callbacks: NO_CALLBACKS,
        }
    }
}

/// A kernel module or the kernel itself, and what to replace in it.
#[repr(transparent)]
pub(crate) struct Object(UnsafeCell<klp_object>);

// SAFETY: Only livepatch uses what is inside, from any thread, and sees to that itself.
unsafe impl Sync for Object {}

impl Object {
    /// Ends a list of objects.
    const fn end() -> Self {
        Object(UnsafeCell::new(pin_init::zeroed()))
    }

    /// The object that these functions are of.
    pub(crate) const fn new<const N: usize>(funcs: &'static Funcs<N>) -> Self {
        let mut object = Self::end().0.into_inner();
        if let Some(name) = funcs.object {
            object.name = as_char_ptr_in_const_context(name);
        }
        object.funcs = ptr::from_ref(funcs).cast_mut().cast();
        object.callbacks = funcs.callbacks;
        Object(UnsafeCell::new(object))
    }
}

/// The objects of a livepatch, as it wants them: one after the other, and then the end.
#[repr(C)]
pub(crate) struct Objects<const N: usize> {
    objects: [Object; N],
    end: Object,
}

impl<const N: usize> Objects<N> {
    /// A list of them.
    pub(crate) const fn new(objects: [Object; N]) -> Self {
        let end = Object::end();
        Objects { objects, end }
    }
}

/// No callbacks.
pub(crate) const NO_CALLBACKS: klp_callbacks = pin_init::zeroed();

/// Does a function of the kernel's that starts so begin with `ENDBR64`, or what takes its place, and a call of `__fentry__`
/// or what takes its (`gen_endbr_poison()` in `arch/x86/include/asm/ibt.h`, and what ftrace makes of the call)? `klp-link`
/// takes this for granted where it cannot see the kernel's code, and calls lead behind that.
pub(crate) fn begins_as_usual(start: [u8; 9]) -> bool {
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
    /// A livepatch of these objects.
    pub(crate) const fn new<const N: usize>(objects: &'static Objects<N>) -> Self {
        let mut patch: klp_patch = pin_init::zeroed();
        patch.objs = ptr::from_ref(objects).cast_mut().cast();
        Patch(UnsafeCell::new(patch))
    }

    /// Puts the livepatch in force, object by object as these are loaded, which ends the module's setup. May sleep.
    ///
    /// Fails if a function to replace is not there, or is not known by that name only.
    pub(crate) fn enable(&'static self, module: &'static ThisModule, _: Setup) -> Result {
        let patch = self.0.get();
        // SAFETY: There is one setup, so this is done once, by the module's init, and nobody else knows the patch before
        // `klp_enable_patch()`. All that it leads to is static, and its lists have their ends. It takes the module for what
        // it is.
        unsafe {
            ptr::addr_of_mut!((*patch).mod_).write(module.as_ptr().cast());
            to_result(private::klp_enable_patch(patch))
        }
    }
}

/// The objects of the livepatch, while livepatch knows of it when a module of them goes; else null. Once the livepatch was
/// switched off it does not know any more, though this module may still be there.
static OBJECTS: AtomicPtr<klp_object> = AtomicPtr::new(ptr::null_mut());

/// From now on livepatch knows when a module of these objects goes. For its callbacks.
pub(crate) fn watch<const N: usize>(objects: &'static Objects<N>) {
    OBJECTS.store(ptr::from_ref(objects).cast_mut().cast(), Ordering::Release);
}

/// From now on it does not. For its callbacks.
pub(crate) fn watch_no_more() {
    OBJECTS.store(ptr::null_mut(), Ordering::Release);
}

/// A module that is an object of the livepatch, if it is loaded, and livepatch has resolved what is used of it. Does
/// not sleep.
pub(crate) fn module(name: &CStr) -> Option<ModuleRef> {
    let _guard = rcu::read_lock();
    let mut object = OBJECTS.load(Ordering::Acquire);
    // SAFETY: The list is static, has an end, and its names do not change. livepatch sets an object's module when this
    // comes, before it is live, and takes it back when it goes, a grace period of RCU before it is freed; it does so as
    // long as it watches, and one that goes later is freed a grace period after that was noted.
    unsafe {
        while !object.is_null() && !(*object).funcs.is_null() {
            // The kernel itself has no name.
            let own = (*object).name;
            if !own.is_null() && CStr::from_char_ptr(own) == name {
                let module = NonNull::new((&raw const (*object).mod_).read_volatile())?.as_ptr();
                // It is not while it is being loaded.
                return match (&raw const (*module).state).read_volatile() {
                    private::module_state_MODULE_STATE_LIVE => ModuleRef::get_other(module.cast()),
                    _ => None,
                };
            }
            object = object.add(1);
        }
    }
    None
}
