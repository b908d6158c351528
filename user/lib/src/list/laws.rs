// SPDX-License-Identifier: GPL-2.0
//! What must hold of lists, whatever is in them: see [`crate::laws`].

use super::*;
use crate::scope::Fsid;

/// A list is written as it was read. So are two lists as one, and a list that was made after another one.
pub fn list(bytes: &[u8]) {
    let Ok(list) = List::parse(bytes) else {
        return;
    };
    is_read_back(&list);
    let scope = list.scope.unwrap_or(Scope::Export(Fsid::Number(0)));
    let both = List::joined(scope, [list.clone(), list.clone()]);
    is_read_back(&both);
    assert!(both.clients.len() <= list.clients.len());
    let after = list.clone().after(list.clone());
    is_read_back(&after);
    for client in &list.clients {
        assert!(after.clients.iter().any(|one| one.who == client.who));
    }
}

fn is_read_back(list: &List) {
    let text = list.to_string();
    let visible = |byte: u8| byte == b'\n' || (b' '..=b'~').contains(&byte);
    assert!(text.bytes().all(visible));
    let mut expected = list.clone();
    if list.clients.is_empty() {
        expected.scope = None;
    }
    assert_eq!(List::parse(text.as_bytes()), Ok(expected));
}
