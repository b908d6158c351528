// SPDX-License-Identifier: GPL-2.0
//! What a server that has crashed had on record.

use crate::output::{self, time};
use anyhow::Result;
use nfsd_ha::database::{NotKnown, Taken, Wanted};
use nfsd_ha::list::{self, OnRecord};
use nfsd_ha::scope::Scope;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Reads it, and says on standard error which of the clients of NFSv4 are listed.
pub fn read(database: &Path, scope: &Scope, wanted: &Wanted) -> Result<OnRecord> {
    let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() as i64;
    let found = list::of_database(database, scope, wanted, now)?;
    if let Some(text) = said(&found.taken) {
        output::note(&text);
    }
    Ok(found)
}

fn said(taken: &Taken) -> Option<String> {
    let why = match taken {
        Taken::Holders { taken, of } => {
            return Some(format!(
                "{taken} of the {of} clients on record may have held something there, and may reclaim"
            ));
        }
        // It never did.
        Taken::All(NotKnown::NotRecorded) => return None,
        Taken::All(why) => why,
    };
    let why = match why {
        NotKnown::NotRecorded | NotKnown::NotSaid => {
            "its server did not say that all of that is on record".to_owned()
        }
        NotKnown::Over(until) => {
            let until = time::utc(*until);
            format!("all of that was on record until {until}, which is over")
        }
        NotKnown::Later(from) => {
            let from = time::utc(*from);
            format!(
                "all of that is on record from {from}, which is later than now: is a clock wrong?"
            )
        }
        NotKnown::Odd => "some of that is not as nfsd-had writes it".to_owned(),
        NotKnown::Unreadable(why) => format!("that cannot be read: {why}"),
    };
    Some(format!(
        "all clients on record may reclaim, as nobody knows who held something there: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_who_is_taken_and_why() {
        let said = |taken: Taken| said(&taken).unwrap_or_default();
        let some = said(Taken::Holders { taken: 2, of: 9 });
        assert!(some.starts_with("2 of the 9 clients"), "{some}");
        assert_eq!(said(Taken::All(NotKnown::NotRecorded)), "");
        for (why, part) in [
            (NotKnown::NotSaid, "did not say"),
            (NotKnown::Over(0), "until 1970-01-01T00:00:00Z"),
            (NotKnown::Later(0), "from 1970-01-01T00:00:00Z"),
            (NotKnown::Odd, "as nfsd-had writes it"),
            (NotKnown::Unreadable("x".into()), "cannot be read: x"),
        ] {
            let all = said(Taken::All(why));
            assert!(
                all.starts_with("all clients on record") && all.contains(part),
                "{all}"
            );
        }
    }
}
