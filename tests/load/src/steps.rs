// SPDX-License-Identifier: GPL-2.0
//! The steps that clients go through, the calls that a step consists of, and phases.

use clap::ValueEnum;
use std::time::Duration;

/// A step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// EXCHANGE_ID and CREATE_SESSION
    Session,
    /// RECLAIM_COMPLETE
    Complete,
    /// OPEN of the client's own file, to read and write; it is created if it is not there
    Open,
    /// LOCK of the bytes 0-99 of that file
    Lock,
    /// LOCKU
    Unlock,
    /// CLOSE
    Close,
    /// WRITE of 64 bytes to that file
    Write,
    /// OPEN with CLAIM_PREVIOUS, in the server's grace period
    ReclaimOpen,
    /// LOCK with reclaim set, after reclaim-open
    ReclaimLock,
    /// SEQUENCE alone, which renews the lease
    Renew,
    /// DESTROY_SESSION and DESTROY_CLIENTID; files have to be closed before
    Destroy,
    /// LOCK and LOCKU again and again, all clients in turns, for --seconds
    LockLoop,
    /// OPEN and CLOSE again and again, all clients in turns, for --seconds
    OpenLoop,
    /// WRITE and READ of 64 bytes again and again, all clients in turns, for --seconds
    IoLoop,
    /// NLM_LOCK and NLM_UNLOCK (NLMv4 over TCP) again and again for --seconds, of files made by
    /// NFSv3; needs no other steps. The server needs rpcbind, rpc.mountd and rpc.statd
    NlmLoop,
    /// What nlm-loop begins with: CREATE of NFSv3
    #[value(skip)]
    V3Create,
    /// What --hold does: SEQUENCE
    #[value(skip)]
    Hold,
}

/// One request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// EXCHANGE_ID.
    ExchangeId,
    /// CREATE_SESSION.
    CreateSession,
    /// RECLAIM_COMPLETE.
    Complete,
    /// OPEN of a name.
    Open,
    /// LOCK.
    Lock,
    /// LOCKU.
    Unlock,
    /// CLOSE.
    Close,
    /// WRITE.
    Write,
    /// READ.
    Read,
    /// LOOKUP and OPEN with CLAIM_PREVIOUS.
    ReclaimOpen,
    /// LOCK that reclaims.
    ReclaimLock,
    /// SEQUENCE alone.
    Renew,
    /// DESTROY_SESSION.
    DestroySession,
    /// DESTROY_CLIENTID.
    DestroyClientid,
    /// NFSv3's CREATE.
    V3Create,
    /// NLM's LOCK.
    NlmLock,
    /// NLM's UNLOCK.
    NlmUnlock,
    /// GETATTR of the lease time.
    LeaseTime,
}

impl Step {
    /// Its name on the command line and in the summary.
    pub fn name(self) -> String {
        match self {
            Self::V3Create => "v3-create".into(),
            Self::Hold => "hold".into(),
            _ => self
                .to_possible_value()
                .map_or_else(String::new, |v| v.get_name().into()),
        }
    }

    /// The requests that it consists of.
    pub fn calls(self) -> &'static [Call] {
        match self {
            Self::Session => &[Call::ExchangeId, Call::CreateSession],
            Self::Complete => &[Call::Complete],
            Self::Open => &[Call::Open],
            Self::Lock => &[Call::Lock],
            Self::Unlock => &[Call::Unlock],
            Self::Close => &[Call::Close],
            Self::Write => &[Call::Write],
            Self::ReclaimOpen => &[Call::ReclaimOpen],
            Self::ReclaimLock => &[Call::ReclaimLock],
            Self::Renew | Self::Hold => &[Call::Renew],
            Self::Destroy => &[Call::DestroySession, Call::DestroyClientid],
            Self::LockLoop => &[Call::Lock, Call::Unlock],
            Self::OpenLoop => &[Call::Open, Call::Close],
            Self::IoLoop => &[Call::Write, Call::Read],
            Self::NlmLoop => &[Call::NlmLock, Call::NlmUnlock],
            Self::V3Create => &[Call::V3Create],
        }
    }

    /// Is it done again and again?
    pub fn is_loop(self) -> bool {
        matches!(
            self,
            Self::LockLoop | Self::OpenLoop | Self::IoLoop | Self::NlmLoop | Self::Hold
        )
    }

    /// What is missing for this step after others, e.g. `lock` without `open`.
    fn lacks(self, state: &mut State) -> Option<&'static str> {
        let State {
            session,
            open,
            lock,
        } = *state;
        let (needed, what) = match self {
            Self::Session | Self::NlmLoop | Self::V3Create => (true, ""),
            Self::Complete | Self::Renew | Self::Hold | Self::Open | Self::ReclaimOpen => {
                (session, "session")
            }
            Self::OpenLoop => (session && !open, "session, and no file open"),
            Self::Lock | Self::ReclaimLock => (open && !lock, "open, and no lock"),
            Self::LockLoop => (open && !lock, "open, and no lock"),
            Self::Write | Self::IoLoop | Self::Close => (open, "open"),
            Self::Unlock => (lock, "lock"),
            Self::Destroy => (session && !open, "session, and no file open"),
        };
        match self {
            Self::Session => state.session = true,
            Self::Open | Self::ReclaimOpen => state.open = true,
            Self::Lock | Self::ReclaimLock => state.lock = true,
            Self::Unlock => state.lock = false,
            Self::Close => (state.open, state.lock) = (false, false),
            Self::Destroy => state.session = false,
            _ => {}
        }
        (!needed).then_some(what)
    }
}

#[derive(Clone, Copy, Default)]
struct State {
    session: bool,
    open: bool,
    lock: bool,
}

/// Is a file opened before `complete`, which the server refuses (RFC 8881, 18.51.3) for ever?
fn opens_too_early(steps: &[Step]) -> bool {
    let is_open = |step: &Step| matches!(step, Step::Open | Step::OpenLoop);
    steps.split(|&step| step == Step::Session).any(|steps| {
        let complete = steps.iter().position(|&step| step == Step::Complete);
        complete.is_some_and(|at| steps[..at].iter().any(is_open))
    })
}

/// Says what is wrong with an order of steps.
pub fn check(steps: &[Step], hold: bool) -> Result<(), String> {
    if opens_too_early(steps) {
        return Err("open comes before complete: until then the server has it wait".into());
    }
    let mut state = State::default();
    for step in steps.iter().copied().chain(hold.then_some(Step::Hold)) {
        if let Some(needed) = step.lacks(&mut state) {
            let name = if step == Step::Hold {
                "--hold".into()
            } else {
                step.name()
            };
            return Err(format!("{name} needs before it: {needed}"));
        }
    }
    Ok(())
}

/// Steps that a client goes through at a stretch; all clients end a phase before the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The steps; one if they are done again and again.
    pub steps: Vec<Step>,
    /// Which step this is, of those in all phases.
    pub first: usize,
    /// How long the step is done again and again.
    pub time: Option<Duration>,
}

impl Phase {
    /// The steps' names.
    pub fn name(&self) -> String {
        self.steps
            .iter()
            .map(|step| step.name())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Is it for lockd's port?
    pub fn is_nlm(&self) -> bool {
        self.steps.contains(&Step::NlmLoop)
    }
}

/// Divides the steps in phases: each its own with `barriers`, else only those that are loops.
pub fn phases(steps: &[Step], barriers: bool, seconds: Duration, hold: Duration) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    let mut all = Vec::new();
    for &step in steps {
        if step == Step::NlmLoop {
            all.push(Step::V3Create);
        }
        all.push(step);
    }
    if !hold.is_zero() {
        all.push(Step::Hold);
    }
    for (first, step) in all.into_iter().enumerate() {
        let time = step
            .is_loop()
            .then_some(if step == Step::Hold { hold } else { seconds });
        match phases.last_mut() {
            Some(last) if !barriers && time.is_none() && last.time.is_none() => {
                last.steps.push(step);
            }
            _ => phases.push(Phase {
                steps: vec![step],
                first,
                time,
            }),
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::*;

    fn cut(steps: &[Step], barriers: bool, hold: u64) -> Vec<(String, usize)> {
        let second = Duration::from_secs(1);
        let phases = phases(steps, barriers, second, second * hold as u32);
        phases
            .iter()
            .map(|phase| (phase.name(), phase.first))
            .collect()
    }

    #[test]
    fn loops_are_phases_of_their_own() {
        assert_eq!(
            cut(&[Session, Open, LockLoop, Close, Destroy], false, 0),
            [
                ("session,open".into(), 0),
                ("lock-loop".into(), 2),
                ("close,destroy".into(), 3)
            ]
        );
        assert_eq!(
            cut(&[NlmLoop], false, 0),
            [("v3-create".into(), 0), ("nlm-loop".into(), 1)]
        );
        assert_eq!(
            cut(&[Session], false, 3),
            [("session".into(), 0), ("hold".into(), 1)]
        );
    }

    #[test]
    fn with_barriers_every_step_is_a_phase() {
        assert_eq!(
            cut(&[Session, Complete], true, 0),
            [("session".into(), 0), ("complete".into(), 1)]
        );
    }

    #[test]
    fn an_order_that_cannot_be() {
        assert!(check(&[Session, Complete, Open, Lock], true).is_ok());
        assert!(check(&[Session, Open, LockLoop, Close, OpenLoop, Destroy], false).is_ok());
        assert!(check(&[NlmLoop], false).is_ok());
        assert!(check(&[Complete], false).is_err());
        assert!(check(&[Session, Open, Complete], false).is_err());
        assert!(check(&[Session, ReclaimOpen, Complete, Session, Open], false).is_ok());
        assert!(check(&[Session, Lock], false).is_err());
        assert!(check(&[Session, Open, Destroy], false).is_err());
        assert!(check(&[Session, Destroy], true).is_err());
        assert!(check(&[NlmLoop], true).is_err());
    }
}
