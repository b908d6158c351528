// SPDX-License-Identifier: GPL-2.0

//! What the daemon was told of all holds together: that they are stored, until a time.
//!
//! After the next start, exports without holds are in no grace period, and a take-over is for clients that have them. So what
//! is granted without a hold, as the daemon is gone, may be lost. As nobody can tell the daemon then, it was told before: until
//! a time nothing is granted so. That time is moved on as long as the daemon is there, and waited for if it is not.
//!
//! How long it is true is as long as a machine may take to be up again after a crash, if only exports that were held are to
//! be in grace: the parameter `holds_valid`. It is kept to for a quarter longer, as the machine's clock may be set back.

use crate::base::clock::{uptime, Moment};
use crate::base::params;

/// A time from a moment on, in milliseconds.
#[derive(Clone, Copy)]
struct Span(Moment, u64);

impl Span {
    fn left(&self) -> u64 {
        self.1.saturating_sub(self.0.elapsed())
    }
}

/// A look at what clients hold that has begun.
#[derive(Clone, Copy)]
pub(crate) struct Began {
    daemon: u64,
    unrecorded: u64,
    /// All that was granted without a hold is there to be found.
    pub(crate) is_all_there: bool,
    /// Who asked before a hold began to leave has been granted what it asked for.
    pub(crate) may_end: bool,
}

/// What was said, and what it depends on.
#[derive(Default)]
pub(crate) struct AllHeld {
    /// The daemon is one that knows holds.
    pub(crate) is_on: bool,
    /// How many daemons have come.
    daemon: u64,
    /// Nothing else was held before this server started than what is on record, or that is over.
    pub(crate) known: bool,
    /// The daemon has been told of the end of the grace period: it is over for clients of NFSv4.
    pub(crate) is_over: bool,
    /// It may have been told: what was on record from before may not count any more.
    pub(crate) may_be_over: bool,
    /// How often something was granted whose hold was not stored, and when that was last, or a daemon came: see
    /// [`uptime()`].
    unrecorded: u64,
    since: i64,
    /// Has the last look found nothing missing, and how often was it granted so before that began?
    clean: bool,
    seen: u64,
    /// When the last look ended that had holds begin to leave.
    left: i64,
    /// When it was said last, and for how long it is kept to.
    said: Option<Span>,
    /// When it was said last and the daemon has answered.
    heard: Option<Span>,
}

impl AllHeld {
    /// A daemon has come, which knows holds or not, and whether all is on record that was held before: all holds are to be
    /// put on record there.
    pub(crate) fn begin(&mut self, is_on: bool, known: bool) {
        *self = AllHeld {
            is_on,
            known,
            daemon: self.daemon + 1,
            since: uptime(),
            said: self.said,
            ..AllHeld::default()
        };
    }

    /// Something is granted whose hold is not stored.
    pub(crate) fn unrecorded(&mut self) {
        self.unrecorded += 1;
        self.since = uptime();
    }

    /// A look begins; `works_since` says whether a request is still being processed that had begun at a moment.
    pub(crate) fn begin_look(&self, works_since: impl Fn(i64) -> bool) -> Began {
        Began {
            daemon: self.daemon,
            unrecorded: self.unrecorded,
            is_all_there: !works_since(self.since),
            may_end: !works_since(self.left),
        }
    }

    /// Is a look one for the daemon that is there now?
    pub(crate) fn is_current(&self, began: Began) -> bool {
        began.daemon == self.daemon
    }

    /// A look has ended; `clean` if it was a whole one, and found nothing missing. In a `regular` one, holds may have begun to
    /// leave.
    pub(crate) fn end_look(&mut self, began: Began, clean: bool, regular: bool) {
        if self.is_current(began) {
            self.clean = clean && began.is_all_there;
            self.seen = began.unrecorded;
        }
        if regular {
            self.left = uptime();
        }
    }

    /// Is it true that all is stored?
    pub(crate) fn is_true(&self) -> bool {
        self.is_on && self.known && !self.needs_look()
    }

    /// Is a look needed, and soon?
    pub(crate) fn needs_look(&self) -> bool {
        !self.clean || self.seen != self.unrecorded
    }

    /// Has the daemon heard it, and is it still so?
    pub(crate) fn is_heard(&self) -> bool {
        self.heard.is_some() && self.is_true()
    }

    /// Was it said, and is not over?
    pub(crate) fn is_binding(&self) -> bool {
        self.said.is_some_and(|said| said.left() > 0)
    }

    /// Is it to be said again?
    pub(crate) fn is_due(&self) -> bool {
        self.heard
            .is_none_or(|heard| heard.0.elapsed() >= heard.1 / 10)
    }

    /// It is about to be said. Returns for how many seconds. What was said before is true as long as it was to be.
    pub(crate) fn say(&mut self) -> u64 {
        let valid = u64::from(params::holds_valid());
        let said = Span(Moment::now(), valid * 1_250);
        let is_longer = |before: &Span| before.left() > said.1;
        self.said = self.said.filter(is_longer).or(Some(said));
        valid
    }

    /// The daemon has answered what was said last: that alone counts.
    pub(crate) fn hear(&mut self, valid: u64) {
        self.said = Some(Span(Moment::now(), valid * 1_250));
        self.heard = self.said;
    }

    /// It was taken back.
    pub(crate) fn take_back(&mut self) {
        (self.said, self.heard) = (None, None);
    }
}
