// SPDX-License-Identifier: GPL-2.0
//! The messages of the client tracking pipe (include/uapi/linux/nfsd/cld.h), in a buffer that is used
//! for all of them: an answer is its upcall with a few bytes changed.

/// The header's length: version, command, status, xid.
const HEADER: usize = 8;
/// Where the name begins, behind its length.
const NAME: usize = HEADER + 2;
/// Longest name.
pub const NAME_MAX: usize = 1024;
/// The status of an answer after which more will come.
const EINPROGRESS: i16 = 115;

/// What an upcall asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Store a client's record.
    Create,
    /// Remove it.
    Remove,
    /// May this client reclaim? Kernels with GraceStart do not ask.
    Check,
    /// Forget who has not reclaimed.
    GraceDone,
    /// Say who may reclaim.
    GraceStart,
    /// Say the highest version.
    GetVersion,
}

impl Command {
    /// All of them, each at its number.
    pub const ALL: [Self; 6] = [
        Self::Create,
        Self::Remove,
        Self::Check,
        Self::GraceDone,
        Self::GraceStart,
        Self::GetVersion,
    ];

    /// Its name in options, log and statistics.
    pub fn name(self) -> &'static str {
        [
            "create",
            "remove",
            "check",
            "grace_done",
            "grace_start",
            "get_version",
        ][self as usize]
    }

    /// The command of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

/// The length of each message of a version.
pub fn message_len(version: u8) -> Option<usize> {
    match version {
        1 => Some(NAME + NAME_MAX),
        2 => Some(NAME + NAME_MAX + 1 + 32),
        _ => None,
    }
}

/// A message of any version.
pub struct Message([u8; NAME + NAME_MAX + 1 + 32]);

impl Message {
    /// All zeros.
    pub fn new() -> Self {
        Self([0; NAME + NAME_MAX + 1 + 32])
    }

    /// The room for a message of any version, to read into.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The length that its version byte says; None if that is no version we know.
    pub fn len(&self) -> Option<usize> {
        message_len(self.0[0])
    }

    /// The bytes to write.
    pub fn bytes(&self) -> &[u8] {
        &self.0[..self.len().unwrap_or(0)]
    }

    /// What it asks for; None if that is no command we know.
    pub fn command(&self) -> Option<Command> {
        Command::ALL.get(usize::from(self.0[1])).copied()
    }

    /// The client's name.
    pub fn name(&self) -> &[u8] {
        let length = usize::from(u16::from_ne_bytes([self.0[8], self.0[9]]));
        &self.0[NAME..NAME + length.min(NAME_MAX)]
    }

    /// Makes it an answer with 0, or a negative errno.
    pub fn set_status(&mut self, status: i16) {
        self.0[2..4].copy_from_slice(&status.to_ne_bytes());
    }

    /// Makes it the answer to GetVersion.
    pub fn set_version(&mut self, highest: u8) {
        self.0[HEADER] = highest;
    }

    /// Makes it a record, one of the answers to GraceStart, for set_name() to complete.
    pub fn begin_record(&mut self) {
        self.set_status(-EINPROGRESS);
        // The length of the principal's hash, of version 2.
        self.0[NAME + NAME_MAX] = 0;
    }

    /// Sets the name, of NAME_MAX bytes at most.
    pub fn set_name(&mut self, name: &[u8]) {
        self.set_name_len(name.len());
        self.0[NAME..NAME + name.len()].copy_from_slice(name);
    }

    /// Sets what follows the first `at` bytes of the name to a number of seven digits or more.
    pub fn set_number(&mut self, at: usize, number: usize) {
        let (mut digits, mut rest) = (7, number / 10_000_000);
        while rest > 0 {
            digits += 1;
            rest /= 10;
        }
        rest = number;
        for byte in self.0[NAME + at..NAME + at + digits].iter_mut().rev() {
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.set_name_len(at + digits);
    }

    fn set_name_len(&mut self, len: usize) {
        self.0[HEADER..NAME].copy_from_slice(&(len as u16).to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upcall(version: u8, command: Command, name: &[u8]) -> Message {
        let mut message = Message::new();
        message.room()[..HEADER].copy_from_slice(&[version, command as u8, 0, 0, 1, 2, 3, 4]);
        message.set_name(name);
        message
    }

    #[test]
    fn has_the_lengths_of_cld_h() {
        assert_eq!(upcall(1, Command::Create, b"x").bytes().len(), 8 + 2 + 1024);
        assert_eq!(
            upcall(2, Command::Create, b"x").bytes().len(),
            8 + 2 + 1024 + 1 + 32
        );
        assert_eq!(upcall(3, Command::Create, b"x").len(), None);
    }

    #[test]
    fn reads_an_upcall() {
        let message = upcall(2, Command::GraceStart, b"client");
        assert_eq!(message.command(), Some(Command::GraceStart));
        assert_eq!(message.name(), b"client");
        let mut message = upcall(2, Command::Create, b"");
        message.room()[1] = 6;
        assert_eq!(message.command(), None);
        message.room()[8..10].copy_from_slice(&u16::MAX.to_ne_bytes());
        assert_eq!(message.name().len(), NAME_MAX);
    }

    #[test]
    fn an_answer_is_the_upcall_with_a_status() {
        let mut message = upcall(2, Command::Create, b"client");
        message.set_status(-5);
        assert_eq!(message.bytes()[..4], [2, 0, 0xfb, 0xff]);
        assert_eq!(message.bytes()[4..8], [1, 2, 3, 4]);
        assert_eq!(message.name(), b"client");
    }

    #[test]
    fn a_version_is_the_first_byte_behind_the_header() {
        let mut message = upcall(1, Command::GetVersion, b"");
        message.set_version(2);
        assert_eq!(message.bytes()[7..10], [4, 2, 0]);
    }

    #[test]
    fn records_are_numbered() {
        let mut message = upcall(2, Command::GraceStart, b"");
        message.begin_record();
        message.set_name(b"client-");
        assert_eq!(message.bytes()[2..4], (-115_i16).to_ne_bytes());
        for (number, name) in [
            (0, "client-0000000"),
            (1_234_567, "client-1234567"),
            (10_000_000, "client-10000000"),
            (42, "client-0000042"),
        ] {
            message.set_number(7, number);
            assert_eq!(message.name(), name.as_bytes());
        }
    }

    #[test]
    fn commands_have_names() {
        for command in Command::ALL {
            assert_eq!(Command::from_name(command.name()), Some(command));
        }
        assert_eq!(Command::from_name("GRACE_DONE"), Some(Command::GraceDone));
        assert_eq!(Command::from_name("nonsense"), None);
    }
}
