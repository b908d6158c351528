// SPDX-License-Identifier: GPL-2.0
//! How a command fails: with a status that scripts can tell apart, and a message that says what to do.

use nfsd_ha::causes;
use nfsd_ha::control::{self, Refusal};
use nfsd_ha::list::{CollectError, FileError};
use nfsd_ha::records::{self, ExportError, ImportError};
use nfsd_ha::scope::Scope;
use nfsd_ha::takeover;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// The program's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Done = 0,
    /// It failed, or not all is done: it may be repeated.
    Failed = 1,
    /// The command, the scope or the list is wrong.
    Usage = 2,
    /// Something is in the way, and nothing is changed.
    Busy = 3,
    /// The module is not loaded, or nfsd's file system is not mounted.
    Absent = 4,
    /// The servers' scopes differ.
    OtherScope = 5,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

/// An error with a status of its own. The library's errors have one by what they are, see [`Status::of`];
/// any other error is [`Status::Failed`].
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

impl Failure {
    #[allow(clippy::new_ret_no_self)] // what is made is always handed on
    pub fn new(status: Status, message: impl Into<String>) -> anyhow::Error {
        Self {
            status,
            message: message.into(),
        }
        .into()
    }

    /// What is wrong has been said already.
    pub fn said(status: Status) -> anyhow::Error {
        Self::new(status, "")
    }

    /// Why a scope was not released.
    pub fn not_released(scope: &Scope, error: control::Error) -> anyhow::Error {
        match error.refusal() {
            None => error.into(),
            Some(Refusal::Busy) => {
                let busy = error.in_the_way().unwrap_or("nfsd starts or stops");
                let text = format!(
                    "{scope} is not released: {busy}; take the address away, end what uses the file or \
                     its file system, then try again"
                );
                Self::new(Status::Busy, text)
            }
            Some(refusal) => {
                let text = format!("{scope} is not released: {refusal}");
                Self::new(Status::of_control(&error), text)
            }
        }
    }

    /// Says on standard error what went wrong, or in JSON on standard output. Returns the status.
    pub fn report(error: &anyhow::Error, json: bool) -> ExitCode {
        let status = Status::of(error);
        let text = message(error);
        if text.is_empty() {
            return status.into();
        }
        if json {
            let json = serde_json::json!({ "error": text, "status": status as u8 });
            // If this cannot be written, the status still says it.
            let _ = crate::output::print(&format!("{json}\n"));
        } else {
            crate::output::note(&format!("nfsd-ha: {text}"));
        }
        status.into()
    }
}

impl Status {
    /// The status that an error calls for.
    fn of(error: &anyhow::Error) -> Self {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.status;
        }
        error
            .chain()
            .find_map(Self::of_cause)
            .unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<takeover::Error>() {
            return Some(match error {
                takeover::Error::OtherScope { .. } | takeover::Error::NoServer { .. } => {
                    Self::OtherScope
                }
                takeover::Error::NotBegun { source, .. } | takeover::Error::Control(source) => {
                    Self::of_control(source)
                }
                _ => Self::Failed,
            });
        }
        if let Some(CollectError::Control(error)) = cause.downcast_ref() {
            return Some(Self::of_control(error));
        }
        if let Some(error) = cause.downcast_ref::<records::Error>() {
            return Some(Self::of_records(error));
        }
        if let Some(error) = cause.downcast_ref::<ImportError>() {
            return Some(match error {
                ImportError::To(error) => Self::of_records(error),
                ImportError::Written(_) | ImportError::Others { .. } => Self::Busy,
                _ => Self::Failed,
            });
        }
        if let Some(error) = cause.downcast_ref::<ExportError>() {
            return Some(match error {
                ExportError::From(error) => Self::of_records(error),
                ExportError::There(_) => Self::Busy,
                _ => Self::Failed,
            });
        }
        if cause.downcast_ref::<FileError>().is_some() {
            return Some(Self::Usage);
        }
        cause.downcast_ref().map(Self::of_control)
    }

    fn of_records(error: &records::Error) -> Self {
        match error {
            records::Error::InUse(_) => Self::Busy,
            records::Error::Foreign(_) => Self::Usage,
            _ => Self::Failed,
        }
    }

    fn of_control(error: &control::Error) -> Self {
        match (error, error.refusal()) {
            (control::Error::Absent { .. }, _) => Self::Absent,
            (_, Some(Refusal::Invalid)) => Self::Usage,
            (_, Some(Refusal::Busy)) => Self::Busy,
            _ => Self::Failed,
        }
    }
}

/// All that an error and its causes say.
pub fn message(error: &anyhow::Error) -> String {
    causes::line(error.as_ref())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_status_is_found_behind_what_was_added() {
        let absent = || control::Error::Absent { file: "x".into() };
        let status = |error: anyhow::Error| Status::of(&error);
        assert_eq!(status(absent().into()), Status::Absent);
        assert_eq!(
            status(Err::<(), _>(absent()).context("while").unwrap_err()),
            Status::Absent
        );
        assert_eq!(
            status(takeover::Error::Control(absent()).into()),
            Status::Absent
        );
        assert_eq!(
            status(CollectError::Control(absent()).into()),
            Status::Absent
        );
        assert_eq!(
            status(takeover::Error::NotAll(absent()).into()),
            Status::Failed
        );
        let in_use = || records::Error::InUse("x".into());
        assert_eq!(status(in_use().into()), Status::Busy);
        assert_eq!(status(ImportError::To(in_use()).into()), Status::Busy);
        let written = ImportError::Written("x".into());
        assert_eq!(status(written.into()), Status::Busy);
        let failure = Failure::new(Status::Busy, "busy");
        assert_eq!(
            status(Err::<(), _>(failure).context("while").unwrap_err()),
            Status::Busy
        );
        assert_eq!(status(anyhow::anyhow!("else")), Status::Failed);
    }

    #[test]
    fn nothing_is_said_twice() {
        let cause = std::io::Error::other("the disk is full");
        let error = anyhow::Error::new(cause)
            .context("cannot write x: the disk is full")
            .context("no");
        assert_eq!(message(&error), "no: cannot write x: the disk is full");
    }
}
