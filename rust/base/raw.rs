// SPDX-License-Identifier: GPL-2.0

//! Locks and lists of structures that are not ours.

use crate::base::private::{self, list_head};
use kernel::bindings;

/// A mutex of somebody else's, held. Taking it may sleep.
pub(crate) struct MutexGuard(*mut bindings::mutex);

impl MutexGuard {
    /// Takes the mutex. May sleep.
    ///
    /// # Safety
    ///
    /// The mutex stays valid until the guard is dropped, and is not held by this task.
    pub(crate) unsafe fn new(mutex: *mut private::mutex) -> Self {
        let mutex = mutex.cast();
        // SAFETY: The mutex is valid, and stays so while it is held.
        unsafe { bindings::mutex_lock(mutex) };
        MutexGuard(mutex)
    }

    /// Takes the mutex if nobody holds it.
    ///
    /// # Safety
    ///
    /// As for [`MutexGuard::new`].
    pub(crate) unsafe fn try_new(mutex: *mut private::mutex) -> Option<Self> {
        let mutex = mutex.cast();
        // SAFETY: The mutex is valid, and stays so while it is held, if it is.
        let taken = unsafe { bindings::mutex_trylock(mutex) } != 0;
        // Not `then_some()`: a guard that is made is dropped, and would unlock for who has the mutex.
        taken.then(|| MutexGuard(mutex))
    }
}

impl Drop for MutexGuard {
    fn drop(&mut self) {
        // SAFETY: It is valid, and held by this task, by `new()`; the guard cannot be sent to another.
        unsafe { bindings::mutex_unlock(self.0) };
    }
}

/// A spinlock of somebody else's, held: no sleeping.
pub(crate) struct SpinGuard(*mut bindings::spinlock_t);

impl SpinGuard {
    /// Takes the spinlock.
    ///
    /// # Safety
    ///
    /// As for [`MutexGuard::new`]; and it is one that interrupts do not take.
    pub(crate) unsafe fn new(lock: *mut private::spinlock_t) -> Self {
        let lock = lock.cast();
        // SAFETY: The spinlock is valid, and stays so while it is held.
        unsafe { bindings::spin_lock(lock) };
        SpinGuard(lock)
    }
}

impl Drop for SpinGuard {
    fn drop(&mut self) {
        // SAFETY: It is valid, and held on this CPU, by `new()`.
        unsafe { bindings::spin_unlock(self.0) };
    }
}

/// The nodes of a list. A node that was returned may be removed before the next is asked for.
///
/// # Safety
///
/// While the iterator is in use, the list is valid, and nobody else changes it; or it is one
/// that changes under RCU, and the caller is in a read-side critical section.
pub(crate) unsafe fn list_entries(head: *mut list_head) -> impl Iterator<Item = *mut list_head> {
    // SAFETY: The head is in a valid list, and so is each node that is reached from it, which nobody else changes or RCU
    // keeps; a pointer is read in one go.
    let after = |node: *mut list_head| unsafe { (&raw const (*node).next).read_volatile() };
    let mut next = after(head);
    core::iter::from_fn(move || {
        let node = next;
        if node == head {
            return None;
        }
        next = after(node);
        Some(node)
    })
}

/// Is a node in no list (`list_empty()`)?
///
/// # Safety
///
/// The node is valid, and nobody changes its list.
pub(crate) unsafe fn is_unlinked(node: *const list_head) -> bool {
    // SAFETY: The node is valid, and its links do not change now.
    unsafe { core::ptr::eq((*node).next, node) }
}

/// Takes a node from its list (`list_del_init()`).
///
/// # Safety
///
/// The node is in a list, and nobody else uses that list.
pub(crate) unsafe fn unlink(node: *mut list_head) {
    // SAFETY: A node in a list has valid neighbours, and nobody else uses them now.
    unsafe {
        (*(*node).next).prev = (*node).prev;
        (*(*node).prev).next = (*node).next;
        (*node).next = node;
        (*node).prev = node;
    }
}

/// Adds a node to the front of a list (`list_add()`).
///
/// # Safety
///
/// The node is in no list, and nobody else uses the list.
pub(crate) unsafe fn link_first(node: *mut list_head, head: *mut list_head) {
    // SAFETY: A list has a valid first node, or is its own; nobody else uses it, or the node, now.
    unsafe {
        let first = (*head).next;
        (*node).next = first;
        (*node).prev = head;
        (*first).prev = node;
        (*head).next = node;
    }
}

/// Adds a node to a list before another one, or at its end, before its head (`list_add_tail()`).
///
/// # Safety
///
/// The node is in no list, and nobody else uses the one that `at` is in, or is the head of.
pub(crate) unsafe fn link_before(node: *mut list_head, at: *mut list_head) {
    // SAFETY: A node of a list, and its head, has a valid one before it, which is in the same list.
    unsafe { link_first(node, (*at).prev) };
}
