// SPDX-License-Identifier: GPL-2.0
//! A moment that nobody moves by setting the clock.

use rustix::time::{clock_gettime, ClockId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Duration;

/// When something was, in the time since this node booted. It is of no use after another boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Which boot (`/proc/sys/kernel/random/boot_id`).
    boot: String,
    /// Whole seconds since then.
    seconds: u64,
}

impl Moment {
    /// Now; `None` if the kernel does not say which boot this is.
    pub fn now() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let now = clock_gettime(ClockId::Boottime);
        Some(Self {
            boot: boot.trim_end().into(),
            seconds: now.tv_sec.try_into().ok()?,
        })
    }

    /// How long ago that was at most, up to two seconds too much; `None` if it was in another boot.
    pub fn elapsed(&self) -> Option<Duration> {
        let now = Self::now().filter(|now| now.boot == self.boot)?;
        // Both have lost a part of a second.
        let seconds = now.seconds.checked_sub(self.seconds)?;
        Some(Duration::from_secs(seconds + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_by_in_one_boot_only() {
        let now = Moment::now().unwrap();
        assert!(now.elapsed().unwrap() < Duration::from_secs(60));
        let earlier = Moment {
            seconds: now.seconds.saturating_sub(100),
            ..now.clone()
        };
        assert!(earlier.elapsed() >= Some(Duration::from_secs(100.min(now.seconds))));
        let later = Moment {
            seconds: now.seconds + 1000,
            ..now.clone()
        };
        assert_eq!(later.elapsed(), None, "it is not over yet");
        let before = Moment {
            boot: "another".into(),
            ..now
        };
        assert_eq!(before.elapsed(), None);
    }
}
