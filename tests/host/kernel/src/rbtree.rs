// SPDX-License-Identifier: GPL-2.0

//! `rust/kernel/rbtree.rs`, as far as the module's logic uses it.

use crate::{allocate, Error, Flags};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A map in order.
pub struct RBTree<K, V>(BTreeMap<K, V>);

impl<K, V> Default for RBTree<K, V> {
    fn default() -> Self {
        RBTree(BTreeMap::new())
    }
}

/// Memory for a node.
pub struct RBTreeNodeReservation<K, V>(PhantomData<(K, V)>);

impl<K, V> RBTreeNodeReservation<K, V> {
    pub fn new(_: Flags) -> Result<Self, Error> {
        allocate()?;
        Ok(RBTreeNodeReservation(PhantomData))
    }

    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode(key, value)
    }
}

/// A node that is in no tree.
pub struct RBTreeNode<K, V>(K, V);

/// A place in a tree.
pub struct Cursor<'a, K, V>(&'a K, &'a V);

impl<K, V> Cursor<'_, K, V> {
    pub fn current(&self) -> (&K, &V) {
        (self.0, self.1)
    }
}

impl<K: Ord + Copy, V> RBTree<K, V> {
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter()
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    pub fn try_create_and_insert(
        &mut self,
        key: K,
        value: V,
        flags: Flags,
    ) -> Result<Option<RBTreeNode<K, V>>, Error> {
        let node = RBTreeNodeReservation::new(flags)?;
        Ok(self.insert(node.into_node(key, value)))
    }

    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        let key = node.0;
        let old = self.0.insert(node.0, node.1);
        old.map(|value| RBTreeNode(key, value))
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    pub fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        let (key, value) = self.0.range(*key..).next()?;
        Some(Cursor(key, value))
    }
}
