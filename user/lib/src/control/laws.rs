// SPDX-License-Identifier: GPL-2.0
//! What must hold of the control files, whatever they say: see [`crate::laws`].

use super::*;

/// Who may reclaim is written as it was read, in visible ASCII, and fits into a command.
pub fn reclaimer(text: &str) {
    let Ok(one) = text.parse::<Reclaimer>() else {
        return;
    };
    let line = one.to_string();
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert!(line.len() < COMMAND_MAX - 100);
    assert_eq!(line.parse(), Ok(one));
}

/// `fsid_grace`
pub fn graces(text: &str) {
    for grace in text.lines().filter_map(Grace::parse) {
        let Grace {
            scope,
            left,
            reclaims,
            refused,
            local,
        } = &grace;
        let local = if *local { " local" } else { "" };
        let line = format!("{scope} left {left} reclaims {reclaims} refused {refused}{local}");
        assert_eq!(Grace::parse(&line), Some(grace));
    }
}

/// The `info` of a client of nfsd's.
pub fn info(bytes: &[u8]) {
    let Some(name) = nfs4_clients::name_of_info(bytes) else {
        return;
    };
    let bytes = name.bytes().iter();
    let quoted: Vec<u8> = bytes
        .flat_map(|byte| format!("\\x{byte:02x}").into_bytes())
        .collect();
    let line = [b"name: \"", &quoted[..], b"\"\n"].concat();
    assert_eq!(nfs4_clients::name_of_info(&line), Some(name.clone()));
    if let Some((own, _)) = name.split() {
        assert!(own.len() < name.bytes().len());
    }
}

/// `reclaim_clients`
pub fn listed(text: &str) {
    for listed in text.lines().filter_map(Listed::parse) {
        reclaimer(&listed.reclaimer.to_string());
        let state = match listed.state {
            Progress::Waiting => "waiting",
            Progress::Reclaimed => "reclaimed",
            Progress::Complete => "complete",
        };
        let line = format!("{} {} # {state}", listed.scope, listed.reclaimer);
        assert_eq!(Listed::parse(&line), Some(listed));
    }
}

/// `nfs4_clients`: whoever is shown can be listed, and shown as JSON.
pub fn nfs4_clients(text: &str) {
    for one in text.lines().filter_map(Nfs4Client::parse) {
        assert_eq!(one.client.to_string().parse(), Ok(one.client.clone()));
        assert_eq!(one.fsid.to_string().parse(), Ok(one.fsid));
        assert!(serde_json::to_string(&one).is_ok());
    }
}

/// `nlm_clients`, also the answer to a recorder.
pub fn nlm_clients(text: &str) {
    let Ok(all) = NlmClients::parse(text) else {
        return;
    };
    for one in all.clients {
        let words = one.peer.to_string();
        assert_eq!(NlmPeer::parse(&mut words.split(' ')), Some(one.peer));
        assert_eq!(one.fsid.to_string().parse(), Ok(one.fsid));
        assert!(serde_json::to_string(&one).is_ok());
    }
}

/// The answer of `nlm_unlock`, and after EBUSY.
pub fn released(text: &str) {
    if let Ok(released) = Released::parse(text) {
        assert!(serde_json::to_string(&released).is_ok());
        let held = crate::list::Held::of_release(&released);
        assert_eq!(held.to_string().parse(), Ok(held));
    }
}

/// `client_tracking`
pub fn tracking(text: &str) {
    if let Ok(tracking) = Tracking::parse(text) {
        assert!(!tracking.state.is_empty());
        assert!(serde_json::to_string(&tracking).is_ok());
    }
}
