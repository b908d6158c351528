// SPDX-License-Identifier: GPL-2.0
//! Files of an older version of the tables. There is one version only, so nothing has to be done yet.

use super::reader::{in_place, version};
use super::{Error, VERSION};
use std::path::Path;

/// Brings a file to the [`VERSION`] that this program writes. Returns the version that it had.
///
/// Fails if there is none, and if it is of a newer version.
pub fn upgrade(file: &Path) -> Result<i64, Error> {
    match version(&in_place(file)?)? {
        // The step from each older version to the next one is to be here: all of it in one transaction that ends with the
        // new number, and with the lock of `Store::open` held.
        VERSION => Ok(VERSION),
        version if version > VERSION => Err(Error::Newer {
            file: file.to_owned(),
            version,
        }),
        // No program has written such a file.
        _ => Err(Error::Foreign(file.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Store;
    use rusqlite::Connection;

    #[test]
    fn there_is_one_version() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        assert!(matches!(upgrade(&file), Err(Error::Absent(_))));
        drop(Store::open(&file).unwrap());
        assert_eq!(upgrade(&file).unwrap(), VERSION);
        let set = |version: i64| {
            let connection = Connection::open(&file).unwrap();
            connection
                .execute("UPDATE schema SET version = ?1", (version,))
                .unwrap();
        };
        set(VERSION + 1);
        assert!(matches!(upgrade(&file), Err(Error::Newer { .. })));
        set(0);
        assert!(matches!(upgrade(&file), Err(Error::Foreign(_))));
    }
}
