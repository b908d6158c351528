// SPDX-License-Identifier: GPL-2.0
//! Tells everybody on the lists of some exports, and takes who was told off them.

use super::{notify, Event, Notice, Report};
use crate::files::{self, Directory};
use crate::statd::{List, Record};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

/// What became of the clients on some lists.
#[derive(Debug)]
pub struct Told {
    /// The number of these notices.
    pub state: i32,
    /// Who was told, and who is still on the lists.
    pub report: Report,
    /// What could not be written: these clients were told, and are still on a list.
    pub unwritten: Vec<files::Error>,
}

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list cannot be read or written.
    #[error(transparent)]
    File(#[from] files::Error),
    /// Somebody else tells the clients on that list.
    #[error("another nfsd-ha tells the clients on the list in {}: wait for it", .0.display())]
    Busy(PathBuf),
}

/// Tells the clients on the lists of exports that have come here together, see [`notify`]. `names` has what
/// notices say in place of a server address, and `node` the number of the last notices of this node.
///
/// First all records become those of clients who are being told, and the state number is written. A client
/// that has confirmed is removed at once, so that whoever interrupts this may go on later with the rest.
///
/// Fails if a list cannot be read or written, or is in use; nobody was told then.
pub fn tell(
    node: &Directory,
    lists: &[List],
    names: &HashMap<IpAddr, String>,
    deadline: Instant,
    on: &mut impl FnMut(Event),
) -> Result<Told, Error> {
    let mut locks = Vec::new();
    for list in lists {
        locks.push(
            list.try_lock()?
                .ok_or_else(|| Error::Busy(list.path().to_owned()))?,
        );
    }
    // A client that has something on several exports is told once.
    let mut on_lists = HashMap::<Record, Vec<&List>>::new();
    for list in lists {
        for record in list.retire()? {
            on_lists.entry(record).or_default().push(list);
        }
    }
    let mut records: Vec<_> = on_lists.keys().copied().collect();
    records.sort();
    let notices: Vec<_> = records
        .iter()
        .map(|record| {
            let notice = Notice::from(record);
            let about = names.get(&record.server).cloned().unwrap_or(notice.about);
            Notice { about, ..notice }
        })
        .collect();
    let state = List::next_state(node, lists)?.get();
    on(Event::Begin(notices.len()));
    let mut unwritten = Vec::new();
    let report = notify(&notices, state, deadline, &mut |event| {
        if let Event::Confirmed(confirmed) = &event {
            let record = Record {
                client: confirmed.notice.client,
                server: confirmed.notice.server,
            };
            let lists = on_lists.get(&record).into_iter().flatten();
            unwritten.extend(lists.filter_map(|list| list.told(&record).err()));
        }
        on(event);
    });
    // So that a power cut does not bring them back.
    unwritten.extend(lists.iter().filter_map(|list| list.sync().err()));
    Ok(Told {
        state,
        report,
        unwritten,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nsm::Trouble;
    use std::path::Path;

    fn list(place: &Path, scope: &str) -> List {
        let directory = Directory::open(place).unwrap();
        List::open(directory.make_child(scope).unwrap()).unwrap()
    }

    #[test]
    fn who_is_not_told_stays_on_the_list() {
        let place = tempfile::tempdir().unwrap();
        let node = Directory::open(place.path()).unwrap();
        let lists = [list(place.path(), "1234"), list(place.path(), "5678")];
        // 192.0.2.50 is on no node.
        let record = Record {
            client: "10.0.0.1".parse().unwrap(),
            server: "192.0.2.50".parse().unwrap(),
        };
        for scope in ["1234", "5678"] {
            std::fs::write(place.path().join(scope).join("sm/10.0.0.1"), record.line()).unwrap();
        }
        let mut states = Vec::new();
        for _ in 0..2 {
            let (mut clients, mut absent) = (0, 0);
            let told = tell(
                &node,
                &lists,
                &HashMap::new(),
                Instant::now(),
                &mut |event| match event {
                    Event::Begin(number) => clients = number,
                    Event::Absent(_) => absent += 1,
                    _ => panic!("{event:?}"),
                },
            )
            .unwrap();
            assert_eq!((clients, absent), (1, 0), "no time to look");
            assert_eq!(
                told.report.failed,
                [(Notice::from(&record), Trouble::NotHere)]
            );
            assert!(told.report.confirmed.is_empty() && told.unwritten.is_empty());
            for list in &lists {
                assert_eq!(list.being_told().unwrap(), [record]);
            }
            states.push(told.state);
        }
        assert!(states[0] < states[1]);
    }

    #[test]
    fn one_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let node = Directory::open(place.path()).unwrap();
        let lists = [list(place.path(), "1234")];
        let held = lists[0].try_lock().unwrap().unwrap();
        let tell = || tell(&node, &lists, &HashMap::new(), Instant::now(), &mut |_| {});
        assert!(matches!(tell(), Err(Error::Busy(path)) if path.ends_with("1234")));
        drop(held);
        assert!(tell().is_ok());
    }
}
