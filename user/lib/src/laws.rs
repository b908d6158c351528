// SPDX-License-Identifier: GPL-2.0
//! What must hold of each parser, whatever it is given: for property tests, and for the fuzz targets in
//! tests/fuzz, of which each has a function here.
//!
//! The first byte of an input says which parser the rest is for, if there are some. They panic if they find a mistake.

use crate::{checks, cld, control, database, exports, journal, list, mounts, net, nsm, statd};

/// Text, where the program wants it.
fn text(bytes: &[u8], law: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        law(text);
    }
}

/// What `/proc/fs/nfsd` says.
pub fn controls(input: &[u8]) {
    use control::laws;
    match input.split_first() {
        Some((b'a', rest)) => text(rest, laws::reclaimer),
        Some((b'g', rest)) => text(rest, laws::graces),
        Some((b'i', rest)) => laws::info(rest),
        Some((b'l', rest)) => text(rest, laws::listed),
        Some((b'4', rest)) => text(rest, laws::nfs4_clients),
        Some((b'n', rest)) => text(rest, laws::nlm_clients),
        Some((b'r', rest)) => text(rest, laws::released),
        Some((b't', rest)) => text(rest, laws::tracking),
        _ => {}
    }
}

/// What moves with an export, or is kept of a move.
pub fn lists(input: &[u8]) {
    match input.split_first() {
        Some((b'c', rest)) => net::laws::connections(rest),
        Some((b'j', rest)) => journal::laws::journal(rest),
        Some((b'l', rest)) => list::laws::list(rest),
        Some((b'r', rest)) => statd::laws::records(rest),
        Some((b'R', rest)) => statd::laws::report(rest),
        Some((b's', rest)) => statd::laws::state(rest),
        Some((b'w', rest)) => text(rest, exports::laws::word_of_list),
        _ => {}
    }
}

/// What a machine says of itself: what is mounted and exported, and how it is configured.
pub fn machines(input: &[u8]) {
    match input.split_first() {
        Some((b'a', rest)) => text(rest, net::laws::spec),
        Some((b'e', rest)) => exports::laws::etab(rest),
        Some((b'f', rest)) => mounts::laws::fstab(rest),
        Some((b'i', rest)) => text(rest, checks::laws::mountstats),
        Some((b'k', rest)) => exports::laws::caches(rest),
        Some((b'm', rest)) => mounts::laws::mountinfo(rest),
        Some((b'n', rest)) => text(rest, checks::laws::nfs_conf),
        Some((b'p', rest)) => text(rest, checks::laws::cib),
        Some((b's', rest)) => text(rest, exports::laws::spec),
        Some((b'u', rest)) => text(rest, checks::laws::unit),
        Some((b'x', rest)) => text(rest, checks::laws::exports),
        _ => {}
    }
}

/// What the kernel asks of nfsd-had.
pub fn upcalls(input: &[u8]) {
    cld::laws::upcall(input);
}

/// What clients and the kernel answer.
pub fn answers(input: &[u8]) {
    match input.split_first() {
        Some((b'a', rest)) => net::laws::netlink(rest),
        Some((b'p', rest)) => nsm::laws::peer(rest),
        Some((b's', rest)) => net::laws::sockets(rest),
        Some((b't', rest)) => nsm::laws::over_tcp(rest),
        Some((b'u', rest)) => nsm::laws::over_udp(rest),
        _ => {}
    }
}

/// The database of another server's nfsdcld or nfsd-had, with what belongs to it.
pub fn databases(input: &[u8]) {
    database::laws::database(input);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    type Target = fn(&[u8]);

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fuzz/corpus"
        ));
        let targets: [(&str, Target); 6] = [
            ("answers", super::answers),
            ("controls", super::controls),
            ("databases", super::databases),
            ("lists", super::lists),
            ("machines", super::machines),
            ("upcalls", super::upcalls),
        ];
        for (name, target) in targets {
            let inputs: Vec<_> = corpus.join(name).read_dir().unwrap().collect();
            assert!(inputs.len() > 5, "{name}");
            for input in inputs {
                target(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}
