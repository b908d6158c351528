// SPDX-License-Identifier: GPL-2.0
//! What must hold of a journal, whatever is in it: see [`crate::laws`].

use super::*;

/// What a journal says is noted again as it was; what is no export or connection is left out.
pub fn journal(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<Journal>(bytes) else {
        return;
    };
    assert!(!name(&read.path()).contains('/'));
    let mut again = read.clone();
    again.set_exports(&read.exports());
    again.set_connections(&read.connections());
    // Seconds may be read as their neighbours.
    again.steps.clear();
    let text = serde_json::to_vec_pretty(&again).unwrap();
    let back: Journal = serde_json::from_slice(&text).unwrap();
    assert_eq!(back, again);
    assert_eq!(
        (back.path(), back.source(), back.exports()),
        (read.path(), read.source(), read.exports())
    );
    assert_eq!(back.connections(), read.connections());
}
