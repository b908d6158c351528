// SPDX-License-Identifier: GPL-2.0
//! What becomes of upcalls: those that came together are stored together, then answered.

use crate::beside::Beside;
use crate::trouble::Trouble;
use nfsd_ha::cld::{Command, NoUpcall, Upcall};
use nfsd_ha::records::{Batch, Epoch, Error, Held, Store};
use rustix::io::Errno;
use std::io;
use std::time::{Duration, Instant};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Where answers go.
pub trait Answers {
    /// Hands an answer to the kernel. Fails if nobody waits for it any more.
    fn answer(&mut self, answer: &[u8]) -> io::Result<()>;
}

/// How long the records may fail before that is an answer, for a kernel that does not ask again.
pub struct Patience<'a> {
    /// Until then it is tried again.
    pub until: Instant,
    /// Where it is said that they fail.
    pub trouble: &'a mut Trouble,
}

impl Patience<'_> {
    /// Does what these upcalls ask for, or tries to.
    fn with<T>(
        &mut self,
        upcalls: &[Upcall],
        mut attempt: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let is_lost = !upcalls.iter().all(Upcall::is_asked_again);
        loop {
            match attempt() {
                Err(error) if is_lost && Instant::now() < self.until => {
                    self.trouble.is(&error);
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }
}

/// Does what these messages ask for, in their order, and answers each. What is to be stored beside that, is so with the
/// last of it, and was not if this fails.
///
/// An answer that says that it is done comes when that is on the disk. If the records fail, all that is not stored is
/// answered with why, and that is returned; the module asks again later, and a stock kernel does not.
pub fn serve(
    store: &mut Store,
    messages: &[Vec<u8>],
    beside: &Beside,
    answers: &mut impl Answers,
    patience: &mut Patience<'_>,
) -> Result<(), Error> {
    let mut changes = Vec::new();
    let mut result = Ok(());
    for message in messages {
        let upcall = match Upcall::parse(message) {
            Ok(upcall) => upcall,
            Err(wrong) => {
                tracing::warn!("{wrong}");
                if let NoUpcall::Unknown { answer, .. } = wrong {
                    say(answers, &answer);
                }
                continue;
            }
        };
        match upcall.command {
            Command::GetVersion { .. } => say(answers, &upcall.answer(Ok(()), store.epoch_name())),
            Command::GraceStart => {
                // Who is stored before it, is among those who may reclaim.
                let nothing = Beside::default();
                result = result.and(change(store, &changes, &nothing, answers, patience));
                changes.clear();
                result = result.and(start(store, &upcall, answers, patience));
            }
            _ => changes.push(upcall),
        }
    }
    result.and(change(store, &changes, beside, answers, patience))
}

/// Stores changes, all in one batch.
fn change(
    store: &mut Store,
    upcalls: &[Upcall],
    beside: &Beside,
    answers: &mut impl Answers,
    patience: &mut Patience<'_>,
) -> Result<(), Error> {
    if upcalls.is_empty() && beside.is_empty() {
        return Ok(());
    }
    match patience.with(upcalls, || stored(store, upcalls, beside)) {
        Ok(results) => {
            for (upcall, result) in upcalls.iter().zip(results) {
                say(answers, &upcall.answer(result, store.epoch_name()));
            }
            Ok(())
        }
        Err(error) => {
            for upcall in upcalls {
                say(
                    answers,
                    &upcall.answer(Err(error.errno()), store.epoch_name()),
                );
            }
            Err(error)
        }
    }
}

fn stored(
    store: &mut Store,
    upcalls: &[Upcall],
    beside: &Beside,
) -> Result<Vec<Result<(), Errno>>, Error> {
    let mut batch = store.begin()?;
    let mut ended = Vec::new();
    let results: Result<Vec<_>, _> = upcalls
        .iter()
        .map(|upcall| apply(&mut batch, &upcall.command, &mut ended))
        .collect();
    let results = results?;
    beside.add_to(&mut batch)?;
    batch.commit()?;
    for epoch in ended {
        tracing::info!("the grace period of epoch {epoch} is over");
    }
    Ok(results)
}

/// Makes one change, and says what its answer is if the batch is stored, and which epoch's grace period has ended then.
fn apply(
    batch: &mut Batch<'_>,
    command: &Command,
    ended: &mut Vec<Epoch>,
) -> Result<Result<(), Errno>, Error> {
    match command {
        Command::Create(client) => batch.store(client)?,
        // One that is not there is as it should be.
        Command::Remove(owner) => drop(batch.remove(owner)?),
        Command::Check(owner) => {
            // Who asks this does not say when it starts.
            batch.begin_epoch_after(i64::MAX)?;
            if !batch.claim(owner)? {
                return Ok(Err(Errno::ACCESS));
            }
        }
        Command::GraceDone { started } => {
            batch.begin_epoch_after(*started)?;
            let epoch = batch.epoch();
            ended.extend(batch.end_grace(epoch)?.then_some(epoch));
        }
        // Of another epoch than the last, or of another file, it changes nothing.
        Command::EpochDone { epoch } if *epoch == batch.epoch_name() => {
            let epoch = batch.epoch();
            ended.extend(batch.end_grace(epoch)?.then_some(epoch));
        }
        Command::EpochDone { .. } => {}
        Command::Hold(hold) => batch.hold(hold)?,
        // As with Remove.
        Command::Unhold(hold) => drop(batch.unhold(hold)?),
        Command::AllHeld { epoch, until } if *epoch == batch.epoch_name() => {
            batch.all_held(*until)?;
        }
        Command::AllHeld { .. } => {}
        Command::GraceStart | Command::GetVersion { .. } => {}
    }
    Ok(Ok(()))
}

/// A server starts: begins an epoch, and tells who may reclaim, and on which exports something was held, if that is known.
fn start(
    store: &mut Store,
    upcall: &Upcall,
    answers: &mut impl Answers,
    patience: &mut Patience<'_>,
) -> Result<(), Error> {
    let result = begin(store, upcall, patience).and_then(|began| {
        let there = tell(store, upcall, answers, &began)?;
        Ok((there, began.held.is_some()))
    });
    let epoch = store.epoch_name();
    let answer = match &result {
        Ok((true, true)) => upcall.answer_known(epoch),
        Ok((true, false)) => upcall.answer(Ok(()), epoch),
        // A server that starts waits for an end. Here, it had no memory, or does not wait any more.
        Ok((false, _)) => upcall.answer(Err(Errno::IO), epoch),
        Err(error) => upcall.answer(Err(error.errno()), epoch),
    };
    say(answers, &answer);
    result.map(drop)
}

/// An epoch that has begun.
struct Began {
    at: Instant,
    epoch: Epoch,
    /// The exports on which something was held in the one before, if that is known.
    held: Option<Held>,
}

fn begin(store: &mut Store, upcall: &Upcall, patience: &mut Patience<'_>) -> Result<Began, Error> {
    let at = Instant::now();
    let (epoch, is_all_held) = patience.with(std::slice::from_ref(upcall), || {
        let mut batch = store.begin()?;
        let is_all_held = batch.is_all_held()?;
        let epoch = batch.begin_epoch()?;
        batch.commit()?;
        Ok((epoch, is_all_held))
    })?;
    let held = match is_all_held {
        true => store.held(),
        false => Ok(None),
    };
    // All may reclaim without it, on each export.
    let held = held.unwrap_or_else(|error| {
        tracing::error!("on which exports something was held cannot be read: {error}");
        None
    });
    Ok(Began { at, epoch, held })
}

/// Tells all that is known. Returns whether the kernel took it.
fn tell(
    store: &Store,
    upcall: &Upcall,
    answers: &mut impl Answers,
    began: &Began,
) -> Result<bool, Error> {
    let mut downcalls = upcall.downcalls();
    let (mut there, mut told) = (true, 0u64);
    let mut tell = |records: Option<Vec<u8>>| {
        // Nobody waits for the rest if one is refused.
        there = there && records.is_none_or(|records| answers.answer(&records).is_ok());
        there
    };
    match &began.held {
        Some(held) => {
            store.each_with_holds(|client, holds| {
                told += 1;
                tell(downcalls.add(&client, Some(holds)))
            })?;
            for ((export, file_system), holders) in held {
                tell(downcalls.add_export(export, *file_system, *holders));
            }
        }
        None => store.each(|client| {
            told += 1;
            tell(downcalls.add(&client, None))
        })?,
    }
    tell(downcalls.rest());
    let epoch = began.epoch;
    if there {
        let on = match &began.held {
            Some(held) => format!("{} exports had something held on them", held.len()),
            None => "on which exports something was held is not known".to_owned(),
        };
        let seconds = began.at.elapsed().as_secs_f64();
        tracing::info!(
            "a server starts, epoch {epoch}: {told} clients may reclaim, {on}; told in {seconds:.3} s"
        );
    } else {
        tracing::warn!("a server starts, epoch {epoch}: the kernel did not take who may reclaim");
    }
    Ok(there)
}

/// Answers, if somebody waits for it.
fn say(answers: &mut impl Answers, answer: &[u8]) {
    if let Err(e) = answers.answer(answer) {
        tracing::debug!("the kernel did not take an answer: {e}");
    }
}

#[cfg(test)]
mod tests;
