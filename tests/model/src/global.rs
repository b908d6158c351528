// SPDX-License-Identifier: GPL-2.0

//! As `rust/base/global.rs`: each schedule has the values anew.

use crate::base::setup::Setup;
use shuttle::{lazy_static::Lazy, sync::Once};
use std::marker::PhantomData;
use std::ops::Deref;

pub(crate) struct Global<T: Sync + 'static>(Lazy<T>);

impl<T: Default + Sync> Global<T> {
    pub(crate) const fn new() -> Self {
        Global(Lazy {
            cell: Once::new(),
            init: T::default,
            _p: PhantomData,
        })
    }

    pub(crate) fn init(&'static self, _: &Setup, _: T) {}
}

impl<T: Sync> Deref for Global<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: All are static.
        let this: &'static Self = unsafe { &*core::ptr::from_ref(self) };
        this.0.get()
    }
}
