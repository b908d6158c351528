// SPDX-License-Identifier: GPL-2.0
//! State numbers: how a client knows whether it has heard of a restart before.

use std::time::{SystemTime, UNIX_EPOCH};

/// A state number of NSM, 1 to 2^31 - 1, odd as that of a host that is up (The Open Group, XNFS C702,
/// chapter 11, `SM_NOTIFY`). A client ignores a notice with the number that it has heard last from the same
/// server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct State(i32);

impl State {
    /// The number as it goes into a notice.
    pub fn get(self) -> i32 {
        self.0
    }

    /// What the file `state` says: an int of this machine's, as sm-notify has it. `None` for anything that
    /// is no number above zero.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = i32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        (number > 0).then_some(Self(number | 1))
    }

    /// The content of the file.
    pub fn bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// The first number of a new list: the time in seconds since 1970. A list that was lost and begun anew
    /// goes on above, as the number grows by more than two a second in no cluster. It comes back to 1 in
    /// 2038.
    pub fn first() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self((now & 0x7fff_ffff) as i32 | 1)
    }

    /// The next number: two more, as sm-notify counts, but not less than the time. Two lists may have begun in
    /// one second, and one client may be on both.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(2).unwrap_or(1)).max(Self::first())
    }
}
