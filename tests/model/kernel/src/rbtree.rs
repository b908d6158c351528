// SPDX-License-Identifier: GPL-2.0

//! `kernel::rbtree`, over the standard library's map.

use crate::{Error, Flags};
use std::collections::BTreeMap;

pub struct RBTree<K, V>(BTreeMap<K, V>);

impl<K, V> Default for RBTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> RBTree<K, V> {
    pub const fn new() -> Self {
        RBTree(BTreeMap::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter()
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }
}

impl<K: Ord + Copy, V> RBTree<K, V> {
    pub fn try_create_and_insert(
        &mut self,
        key: K,
        value: V,
        _: Flags,
    ) -> Result<Option<RBTreeNode<K, V>>, Error> {
        Ok(self.0.insert(key, value).map(|old| RBTreeNode(key, old)))
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    pub fn cursor_front_mut(&mut self) -> Option<CursorMut<'_, K, V>> {
        let at = *self.0.keys().next()?;
        Some(CursorMut { tree: self, at })
    }
}

pub struct CursorMut<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    at: K,
}

impl<K: Ord + Copy, V> CursorMut<'_, K, V> {
    /// Also returns a cursor at the next one, which nobody asks for here.
    pub fn remove_current(self) -> (Option<Self>, RBTreeNode<K, V>) {
        let value = self.tree.0.remove(&self.at).expect("the cursor's entry");
        (None, RBTreeNode(self.at, value))
    }
}

pub struct RBTreeNode<K, V>(K, V);

impl<K, V> RBTreeNode<K, V> {
    pub fn to_key_value(self) -> (K, V) {
        (self.0, self.1)
    }
}
