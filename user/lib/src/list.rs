// SPDX-License-Identifier: GPL-2.0
//! The list of those who may reclaim: the file that moves with an export (docs/moving.md).
//!
//! ```text
//! # nfsd-ha clients 2               the format; 1 has neither `held` nor lines of NLM
//! # released                        what was released is what is listed
//! # server-scope nfs-ha             RFC 8881, 2.10.4; `-` if that is not known
//! # nlm-clients 1                   how many of NLM there are; `-` if others may come
//! # held 1 0 2 2 9                  in all: NLM's locks and shares, NFSv4's opens and locks, and the
//!                                   amount modulo 2^48; `-` where that is not known
//! 1234 one holds=8                  a client of NFSv4: SCOPE CLIENT-ID [PRINCIPAL-HASH] [holds=AMOUNT]
//! 1234 nlm 192.0.2.50 192.0.2.17 4  one of NLM: SCOPE nlm SERVER CLIENT VERSION [holds=AMOUNT]
//! # end 2                           a list that ends early is not whole
//! ```
//!
//! Other lines that begin with `# ` and a name are [`List::notes`]; who does not know one ignores it.

mod collect;
mod file;
mod held;
mod join;

pub use collect::{of_database, of_server, CollectError, OnRecord};
pub use file::{read, FileError, ListFile};
pub use held::Held;

use crate::control::{Reclaimer, Who};
use crate::scope::Scope;
use std::fmt;

/// How a list begins.
const MAGIC: &str = "# nfsd-ha clients ";
/// The format that is written.
const FORMAT: &str = "2";
/// The names of the lines that all readers know.
const KNOWN: [&str; 6] = [
    "nfsd-ha",
    "released",
    "server-scope",
    "nlm-clients",
    "held",
    "end",
];

/// Who may reclaim an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Of what; `None` if nobody is listed.
    pub scope: Option<Scope>,
    /// The scope of the server that wrote it, as nfsd's caches write it.
    pub server_scope: Option<String>,
    /// How many clients of NLM there are; `None` if others may come, too.
    pub nlm_clients: Option<u64>,
    /// How much was held when it was written.
    pub held: Option<Held>,
    /// What was released is what is listed, so the amounts are good.
    pub released: bool,
    /// What else is known, such as the export's path: names of small letters, digits and dashes, and text
    /// in visible ASCII and spaces.
    pub notes: Vec<(String, String)>,
    /// Who may reclaim.
    pub clients: Vec<Reclaimer>,
}

/// This is no list, or not all of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// It does not begin as one.
    #[error("this is not what nfsd-ha export-clients writes: it does not begin with \"# nfsd-ha clients 2\"")]
    NoList,
    /// It was written by a newer program.
    #[error("this list has the format {0}, and this nfsd-ha knows 1 and 2: take a newer one")]
    Newer(String),
    /// The end is missing, or something before it.
    #[error("this is not all of what nfsd-ha export-clients wrote: its last line is to be \"# end {0}\"")]
    Cut(usize),
    /// A line is wrong: its number from 1, and why.
    #[error("line {0} of the list is wrong: {1}: write the list again")]
    Line(usize, String),
}

impl List {
    /// An empty list.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope: Some(scope),
            ..Self::default()
        }
    }

    /// Reads a list, which must be whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let first = lines
            .next()
            .and_then(|line| line.strip_prefix(MAGIC.as_bytes()));
        match first {
            Some(b"1" | b"2") => {}
            Some(other) if other.iter().all(u8::is_ascii_digit) && !other.is_empty() => {
                return Err(ListError::Newer(
                    String::from_utf8_lossy(other).into_owned(),
                ));
            }
            _ => return Err(ListError::NoList),
        }
        let mut reader = Reader::default();
        for (n, line) in lines.enumerate() {
            let wrong = |why: String| ListError::Line(n + 2, why);
            // What is shown must not play with the terminal.
            let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
            if !line.iter().all(printable) {
                return Err(wrong("it has other characters than visible ASCII".into()));
            }
            let line = std::str::from_utf8(line).map_err(|e| wrong(e.to_string()))?;
            reader.line(line).map_err(wrong)?;
        }
        if reader.end != Some(reader.list.clients.len()) {
            return Err(ListError::Cut(reader.list.clients.len()));
        }
        Ok(reader.list)
    }

    /// The clients of NFSv4.
    pub fn nfs4(&self) -> impl Iterator<Item = &Reclaimer> {
        self.clients
            .iter()
            .filter(|one| matches!(one.who, Who::Nfs4 { .. }))
    }

    /// The clients of NLM.
    pub fn nlm(&self) -> impl Iterator<Item = &Reclaimer> {
        self.clients
            .iter()
            .filter(|one| matches!(one.who, Who::Nlm(_)))
    }
}

/// A list of which some lines were read.
#[derive(Default)]
struct Reader {
    list: List,
    end: Option<usize>,
    seen: Vec<String>,
    /// The last line has ended.
    over: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if self.over || self.end.is_some() && !line.is_empty() {
            return Err("the list has ended before".into());
        }
        if self.end.is_some() {
            self.over = true;
            return Ok(());
        }
        match line.strip_prefix("# ") {
            Some(header) => self.header(header),
            None => self.client(line),
        }
    }

    fn header(&mut self, header: &str) -> Result<(), String> {
        let (name, value) = header.split_once(' ').unwrap_or((header, ""));
        let wrong = || format!("{header:?} says nothing");
        if KNOWN.contains(&name) {
            if self.seen.iter().any(|seen| seen == name) {
                return Err(format!("there is a second {name}"));
            }
            self.seen.push(name.to_owned());
        }
        let known =
            |text: &str| Some(text.to_owned()).filter(|text| text != "-" && !text.is_empty());
        let list = &mut self.list;
        match name {
            "nfsd-ha" => return Err("a list begins here".into()),
            "released" => list.released = true,
            "server-scope" => list.server_scope = known(value),
            "nlm-clients" => {
                let number = known(value).map(|number| number.parse().map_err(|_| wrong()));
                list.nlm_clients = number.transpose()?;
            }
            "held" => {
                let held = known(value).map(|held| held.parse().map_err(|()| wrong()));
                list.held = held.transpose()?;
            }
            "end" => self.end = Some(value.parse().map_err(|_| wrong())?),
            _ => list.notes.push((name.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    fn client(&mut self, line: &str) -> Result<(), String> {
        let (scope, client) = line.split_once(' ').ok_or("it has one word")?;
        let scope: Scope = scope
            .parse()
            .map_err(|e: crate::scope::NoScope| e.to_string())?;
        if *self.list.scope.get_or_insert(scope) != scope {
            return Err("it is of another scope than those before".into());
        }
        let client = client.parse::<Reclaimer>().map_err(|e| e.to_string())?;
        self.list.clients.push(client);
        Ok(())
    }
}

/// As it is kept and handed on.
impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}{FORMAT}")?;
        if self.released {
            writeln!(f, "# released")?;
        }
        writeln!(
            f,
            "# server-scope {}",
            self.server_scope.as_deref().unwrap_or("-")
        )?;
        writeln!(f, "# nlm-clients {}", or_dash(self.nlm_clients))?;
        writeln!(f, "# held {}", or_dash(self.held))?;
        for (name, text) in &self.notes {
            let space = if text.is_empty() { "" } else { " " };
            writeln!(f, "# {name}{space}{text}")?;
        }
        if let Some(scope) = self.scope {
            self.clients
                .iter()
                .try_for_each(|client| writeln!(f, "{scope} {client}"))?;
        }
        writeln!(f, "# end {}", self.clients.len())
    }
}

/// What is known, or a dash.
fn or_dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
