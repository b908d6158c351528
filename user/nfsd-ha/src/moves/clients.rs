// SPDX-License-Identifier: GPL-2.0
//! The step B-5: those who are to come hear of it.

use super::carried;
use super::here::{fsids, Exports, Here};
use anyhow::Result;
use nfsd_ha::amount::Amount;
use nfsd_ha::control::Who;
use nfsd_ha::exports;
use nfsd_ha::files::Directory;
use nfsd_ha::list::List;
use nfsd_ha::net::announce;
use nfsd_ha::nsm::{self, Notice};
use nfsd_ha::scope::Fsid;
use nfsd_ha::statd::{self, Record};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

impl Here<'_> {
    /// B-5: NLM clients are told to reclaim, and all who were connected to come, a few times as
    /// packets are lost.
    pub(super) fn clients(&self, limit: Duration, warnings: &mut Vec<String>) -> Result<String> {
        let (notices, records) = self.notices(warnings);
        let state = statd::List::next_state(&Directory::make(statd::directory())?, &records)?;
        let (announcers, tickler) = (self.announcers()?, self.tickler()?);
        let deadline = Instant::now() + limit;
        let report = std::thread::scope(|scope| {
            let told = scope.spawn(|| {
                nsm::notify(&notices, state.get(), deadline, &mut |event| {
                    let nsm::Event::Confirmed(confirmed) = event else {
                        return;
                    };
                    let (client, server) = (confirmed.notice.client, confirmed.notice.server);
                    // Who cannot be taken off the list is told again at the next move.
                    for list in &records {
                        let _ = list.told(&Record { client, server });
                    }
                })
            });
            for round in 1..announce::ROUNDS {
                std::thread::sleep(announce::INTERVAL);
                // The first ones have gone out; these only make sure.
                for announcer in &announcers {
                    let _ = announcer.send();
                }
                tickler.send(&self.connections, round);
            }
            told.join().expect("notices do not panic")
        });
        let failed = report.failed.iter();
        warnings.extend(failed.map(|(notice, trouble)| {
            format!(
                "NLM client {} was not told that {} has moved: {trouble}",
                notice.client, notice.server
            )
        }));
        Ok(format!(
            "{} connections tickled, {} of {} NLM clients told",
            self.connections.len(),
            report.confirmed.len(),
            notices.len()
        ))
    }

    /// Whom to tell: who is on the list, and whom the recorder has noted. Their lists are no longer for who
    /// comes from now on.
    fn notices(&self, warnings: &mut Vec<String>) -> (Vec<Notice>, Vec<statd::List>) {
        let Some(list) = self.list else {
            return (Vec::new(), Vec::new());
        };
        let moves = |server: &IpAddr| {
            self.addresses
                .iter()
                .any(|placed| placed.address == *server)
        };
        let notice = |client: IpAddr, server: IpAddr| Notice::from(&Record { client, server });
        let mut notices = BTreeSet::new();
        let peers = list.nlm().filter_map(|client| match &client.who {
            Who::Nlm(peer) if client.holds != Some(Amount::default()) => Some(peer),
            _ => None,
        });
        notices.extend(
            peers
                .filter(|peer| moves(&peer.server))
                .map(|peer| notice(peer.client, peer.server)),
        );
        let come = self.recorded(list);
        let recorded = carried::recorded(list).into_iter();
        notices.extend(
            recorded
                .filter(|(fsid, peer)| come.contains(fsid) && moves(&peer.server))
                .map(|(_, peer)| notice(peer.client, peer.server)),
        );
        let mut records = Vec::new();
        for fsid in come {
            let directory = statd::directory().join(fsid.to_string());
            if !directory.exists() {
                continue;
            }
            let opened = Directory::open(&directory).and_then(statd::List::open);
            match opened.and_then(|recorded| Ok((recorded.retire()?, recorded))) {
                Ok((who, recorded)) => {
                    notices.extend(who.iter().map(Notice::from));
                    records.push(recorded);
                }
                // Those on the list are told all the same.
                Err(e) => warnings.push(format!(
                    "NLM clients on record for {fsid} are not told: {e}"
                )),
            }
        }
        (notices.into_iter().collect(), records)
    }

    /// Of which exports there may be records.
    fn recorded(&self, list: &List) -> BTreeSet<Fsid> {
        let exports = match &self.exports {
            Exports::These(exports) => exports.clone(),
            Exports::File => exports::read(Path::new(exports::ETAB)).unwrap_or_default(),
        };
        let mut all = fsids(&carried::exports(list));
        all.extend(fsids(
            exports
                .iter()
                .filter(|export| export.path.starts_with(&self.path)),
        ));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nfsd_ha::control::Control;
    use nfsd_ha::net::place::Placed;

    #[test]
    fn clients_on_record_are_told_of_what_comes_and_of_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("reclaim_clients"), "").unwrap();
        let control = Control::at(directory.path()).unwrap();
        let mut list = List::new("dev:8:1".parse().unwrap());
        let nlm = |client: &str, server: &str| format!("nlm {server} {client} 4");
        for (fsid, who) in [
            ("1234", nlm("192.0.2.17", "192.0.2.50")),
            ("1234", nlm("192.0.2.18", "192.0.2.51")),
            ("5678", nlm("192.0.2.19", "192.0.2.50")),
            ("1235", nlm("192.0.2.17", "192.0.2.50")),
            ("1234", nlm("192.0.2.17", "192.0.2.50").replace(" 4", " 3")),
        ] {
            list.notes
                .push(("recorded".into(), format!("{fsid} {who}")));
        }
        list.clients
            .push(nlm("192.0.2.20", "192.0.2.50").parse().unwrap());
        let here = Here {
            path: "/srv/ha".into(),
            source: None,
            mounts: true,
            control: &control,
            list: Some(&list),
            exports: Exports::These(vec![
                "*:/srv/ha(rw,fsid=1234)".parse().unwrap(),
                "*:/srv/ha/x(rw,fsid=1235)".parse().unwrap(),
            ]),
            addresses: vec![Placed::new("192.0.2.50".parse().unwrap(), 24, "eth0")],
            connections: Vec::new(),
            seconds: None,
            force: false,
            later: false,
            notify: Duration::ZERO,
        };
        let mut warnings = Vec::new();
        let (notices, _) = here.notices(&mut warnings);
        let told: Vec<_> = notices.iter().map(|one| one.client.to_string()).collect();
        assert_eq!(told, ["192.0.2.17", "192.0.2.20"]);
        assert!(notices
            .iter()
            .all(|one| one.server.to_string() == "192.0.2.50"));
    }
}
