// SPDX-License-Identifier: GPL-2.0

//! The few items of the kernel crate that the module's logic uses, over the standard library.
//!
//! Names, signatures and errors are those of `rust/kernel` in the kernel source. Allocations
//! can be made to fail: [`fail_after`].

pub mod rbtree;

use std::cell::Cell;
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};

thread_local! {
    static ALLOCATIONS_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Lets the next `n` allocations of this thread succeed, and all later ones fail.
pub fn fail_after(n: usize) {
    ALLOCATIONS_LEFT.set(n);
}

/// Lets all allocations of this thread succeed.
pub fn never_fail() {
    fail_after(usize::MAX);
}

fn allocate() -> Result<(), AllocError> {
    match ALLOCATIONS_LEFT.get() {
        0 => Err(AllocError),
        usize::MAX => Ok(()),
        n => {
            ALLOCATIONS_LEFT.set(n - 1);
            Ok(())
        }
    }
}

/// Allocation flags.
#[derive(Clone, Copy)]
pub struct Flags;

/// An allocation that failed.
#[derive(Debug)]
pub struct AllocError;

/// A place without an element.
#[derive(Debug)]
pub struct RemoveError;

/// An errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub i32);

impl Error {
    pub fn from_errno(errno: i32) -> Self {
        Error(errno)
    }

    pub fn to_errno(self) -> i32 {
        self.0
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The errnos that the module uses.
pub mod code {
    use super::Error;
    pub const ENOENT: Error = Error(-2);
    pub const ESRCH: Error = Error(-3);
    pub const EAGAIN: Error = Error(-11);
    pub const ENOMEM: Error = Error(-12);
    pub const EBUSY: Error = Error(-16);
    pub const ENODEV: Error = Error(-19);
    pub const EINVAL: Error = Error(-22);
    pub const EFBIG: Error = Error(-27);
    pub const ENOSPC: Error = Error(-28);
    pub const EPIPE: Error = Error(-32);
    pub const ETIMEDOUT: Error = Error(-110);
}

/// A vector whose growth can fail.
pub struct Vec<T>(std::vec::Vec<T>);

impl<T> Default for Vec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Vec<T> {
    pub const fn new() -> Self {
        Vec(std::vec::Vec::new())
    }

    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut v = Self::new();
        v.reserve(capacity, flags)?;
        Ok(v)
    }

    pub fn reserve(&mut self, additional: usize, _: Flags) -> Result<(), AllocError> {
        if self.0.capacity() - self.0.len() < additional {
            allocate()?;
            self.0.reserve(additional);
        }
        Ok(())
    }

    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(value);
        Ok(())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Takes an element out, if there is one at that place.
    pub fn remove(&mut self, at: usize) -> Result<T, RemoveError> {
        if at >= self.0.len() {
            return Err(RemoveError);
        }
        Ok(self.0.remove(at))
    }

    pub fn retain(&mut self, mut f: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(|value| f(value));
    }
}

impl<T: Clone> Vec<T> {
    pub fn extend_with(&mut self, n: usize, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(n, flags)?;
        self.0.extend(std::iter::repeat_n(value, n));
        Ok(())
    }

    pub fn extend_from_slice(&mut self, other: &[T], flags: Flags) -> Result<(), AllocError> {
        self.reserve(other.len(), flags)?;
        self.0.extend_from_slice(other);
        Ok(())
    }
}

impl<T> Deref for Vec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Vec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<'a, T> IntoIterator for &'a Vec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Vec<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

impl<T> IntoIterator for Vec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What each file of the module imports.
pub mod prelude {
    pub use super::{code::*, Error};
    pub type Result<T = (), E = Error> = core::result::Result<T, E>;
    pub type KVec<T> = super::Vec<T>;
    pub type KVVec<T> = super::Vec<T>;
    pub const GFP_KERNEL: super::Flags = super::Flags;
    pub const GFP_ATOMIC: super::Flags = super::Flags;
    pub const GFP_KERNEL_ACCOUNT: super::Flags = super::Flags;
}
