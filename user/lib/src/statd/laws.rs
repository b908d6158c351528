// SPDX-License-Identifier: GPL-2.0
//! What must hold of the records of NLM clients, whatever is in them: see [`crate::laws`].

use super::*;

/// Records are written as they were read, and each is in a file of its own place.
pub fn records(bytes: &[u8]) {
    let records = Record::parse(bytes);
    assert_eq!(Record::parse(&list::lines(&records)), records);
    for record in records {
        let file = record.file();
        assert!(!file.starts_with('.') && !file.contains('/'));
    }
}

/// A number is that of a host that is up, and the next one is another, that is not below the time.
pub fn state(bytes: &[u8]) {
    let Some(state) = State::parse(bytes) else {
        return;
    };
    for state in [state, state.next()] {
        assert!(state.get() > 0 && state.get() % 2 == 1);
    }
    assert_eq!(State::parse(&state.bytes()), Some(state));
    assert!(state.next() != state);
}

/// What the recorder has said is written as it was read.
pub fn report(bytes: &[u8]) {
    if let Ok(report) = serde_json::from_slice::<Report>(bytes) {
        let text = serde_json::to_vec(&report).unwrap();
        assert_eq!(serde_json::from_slice::<Report>(&text).unwrap(), report);
    }
}
