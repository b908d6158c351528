// SPDX-License-Identifier: GPL-2.0
//! The clients' names: of their owners (RFC 8881, 2.4), and of their files.

use std::borrow::Cow;

/// The name of each client, by its number.
pub enum Names {
    /// A prefix and a number, from a first one on.
    Numbered(String, u64),
    /// A list.
    Listed(Vec<String>),
}

impl Names {
    /// Names with numbers of 7 digits.
    pub fn numbered(prefix: String, first: u64) -> Self {
        Self::Numbered(prefix, first)
    }

    /// One name a line; empty lines do not count.
    pub fn listed(text: &str) -> Self {
        Self::Listed(
            text.lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    /// The name of a client's owner.
    pub fn owner(&self, client: u32) -> Cow<str> {
        match self {
            Self::Numbered(prefix, first) => {
                format!("{prefix}{:07}", first + u64::from(client)).into()
            }
            Self::Listed(names) => names.get(client as usize).map_or("", |name| name).into(),
        }
    }

    /// The name of a client's file.
    pub fn file(&self, client: u32) -> Cow<str> {
        let name = self.owner(client);
        if name.contains('/') {
            name.replace('/', "_").into()
        } else {
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients() {
        let names = Names::numbered("load-".into(), 5);
        assert_eq!(names.owner(0), "load-0000005");
        assert_eq!(names.file(95), "load-0000100");
        let names = Names::listed("one\n\nLinux 10.0.0.1/x\n");
        assert_eq!(names.owner(1), "Linux 10.0.0.1/x");
        assert_eq!(names.file(1), "Linux 10.0.0.1_x");
        assert_eq!(names.owner(2), "");
    }
}
