// SPDX-License-Identifier: GPL-2.0

//! What is exported: which directory a form of handle leads to, and by which fsid that was exported last.
//!
//! lockd keeps the handle of a file that a client has locked, and nfsd the export by which a stateid was made; neither
//! changes when exports(5) does. And once an export is withdrawn, nothing in the kernel says any more what it was. So
//! each answer that nfsd gives to "whose handle is this?" is noted here.
//!
//! Clients come under the name of an entry in exports(5), a *domain*; one directory may be exported to two of them
//! with two fsids. A handle does not say whose it is: of a file that lockd has, the domain is not known.
//!
//! Net namespaces are named by their cookies, domains by a hash of their names.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::scopes::place::{FileSystem, Form, Place};
use crate::scopes::scope::{Fsid, Scope};
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};

/// A directory that is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Root {
    /// The device of its file system: [`Fsid::Dev`].
    pub(crate) device: Fsid,
    /// The number of its inode.
    pub(crate) inode: u64,
    /// Where that inode is in memory, which is only compared: the roots of all subvolumes of a btrfs have one number, and
    /// a device's number is used again.
    pub(crate) address: usize,
    /// Its generation: that of a tmpfs' root is random, while all the others are often the same for one tmpfs after another.
    pub(crate) generation: u32,
}

impl Root {
    /// None is before this.
    const FIRST: Root = Root {
        device: Fsid::Dev { major: 0, minor: 0 },
        inode: 0,
        address: 0,
        generation: 0,
    };
}

/// An export, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// Its directory.
    pub(crate) root: Root,
    /// To whom.
    pub(crate) domain: u64,
    /// Its fsid.
    pub(crate) fsid: Fsid,
    /// The directory of the export that it is mounted below.
    pub(crate) below: Option<Root>,
    /// How it is exported.
    pub(crate) how: How,
    /// Its file system.
    pub(crate) file_system: FileSystem,
}

/// How something is exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct How {
    /// It shows what is mounted below it.
    pub(crate) crossmnt: bool,
    /// It is shown by what it is mounted below.
    pub(crate) nohide: bool,
    /// It only leads to other exports.
    pub(crate) pseudo: bool,
    /// rpc.mountd was asked what it is below.
    pub(crate) asked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Handles {
    net: u64,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Exported {
    net: u64,
    root: Root,
    domain: u64,
}

/// The fsid that a directory was exported by.
#[derive(Clone, Copy)]
struct Last {
    fsid: Fsid,
    /// The number of the change that brought it.
    sequence: u64,
    below: Option<Root>,
    how: How,
    file_system: FileSystem,
}

fn is_number(last: Last) -> bool {
    matches!(last.fsid, Fsid::Num(_))
}

/// An export that is below one of a scope, but is a scope of its own.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    key: Exported,
    /// Its fsid.
    pub(crate) fsid: Fsid,
}

/// Room for one more export. Made where one may sleep.
pub(crate) struct Room {
    form: RBTreeNodeReservation<Handles, Root>,
    export: RBTreeNodeReservation<Exported, Last>,
}

impl Room {
    /// Fails with `ENOMEM`. May sleep.
    pub(crate) fn new() -> Result<Self> {
        Ok(Room {
            form: RBTreeNodeReservation::new(GFP_KERNEL)?,
            export: RBTreeNodeReservation::new(GFP_KERNEL)?,
        })
    }
}

/// The directories that are exported, or were. Asking takes no memory, and a time that grows with the logarithm of
/// their number.
#[derive(Default)]
pub(crate) struct Roots {
    forms: RBTree<Handles, Root>,
    exports: RBTree<Exported, Last>,
    count: usize,
    sequence: u64,
}

/// Notes at most, of all namespaces. Clients cannot make any: there is one for each form of an export's fsid that was
/// used, and one for each domain that it is exported to.
const MAX: usize = 1 << 17;

/// Sets the value of a key, for which a node is taken if the key is new. Returns how many have been added.
fn put<K: Ord + Copy, V>(
    tree: &mut RBTree<K, V>,
    key: K,
    value: V,
    room: Option<RBTreeNodeReservation<K, V>>,
) -> usize {
    match (tree.get_mut(&key), room) {
        (Some(old), _) => *old = value,
        (None, Some(room)) => {
            tree.insert(room.into_node(key, value));
            return 1;
        }
        (None, None) => (),
    }
    0
}

/// How many exports one may be below, each of them below the next.
pub(crate) const MAX_DEPTH: usize = 8;

impl Roots {
    /// Notes that a handle of this form leads to this export; returns whether what is known of others may be
    /// wrong by this. Takes `room` if
    /// the export, the form or the domain is new; fails with `ENOMEM` and notes nothing if there is none then. Fails
    /// with `ENOSPC` if there are too many.
    pub(crate) fn note(
        &mut self,
        net: u64,
        form: Option<&Form>,
        export: &Export,
        room: &mut Option<Room>,
    ) -> Result<bool> {
        let by_form = form.map(|form| Handles { net, form: *form });
        let by_root = Exported {
            net,
            root: export.root,
            domain: export.domain,
        };
        let last = Last {
            fsid: export.fsid,
            sequence: self.sequence + 1,
            below: export.below,
            how: export.how,
            file_system: export.file_system,
        };
        let root_was = by_form.and_then(|form| self.forms.get(&form).copied());
        let fsid_was = self.exports.get(&by_root).map(|last| last.fsid);
        let differs = root_was.is_some_and(|root| root != export.root)
            || fsid_was.is_some_and(|fsid| fsid != export.fsid);
        let is_new = root_was.is_none() && form.is_some() || fsid_was.is_none();
        if is_new && self.count >= MAX {
            return Err(ENOSPC);
        }
        let room = match is_new {
            true => Some(room.take().ok_or(ENOMEM)?),
            false => None,
        };
        let (form_room, export_room) =
            room.map_or((None, None), |r| (Some(r.form), Some(r.export)));
        if let Some(key) = by_form {
            self.count += put(&mut self.forms, key, export.root, form_room);
        }
        self.count += put(&mut self.exports, by_root, last, export_room);
        self.sequence += 1;
        // Another export may be below a new one.
        Ok(differs || fsid_was.is_none())
    }

    /// Where a file is that was named by a handle of this form, by a client of the domain if that is known.
    ///
    /// A handle that says a number is of the export with that number: rpc.mountd takes it for no other. For another one,
    /// if the domain is not known and the directory is exported to several of them with several fsids, it is the one
    /// that the handle says, or if it says none of them, the last one that was noted.
    pub(crate) fn by_form(&self, net: u64, form: &Form, domain: Option<u64>) -> Place {
        let handle = form.fsid();
        let Some(root) = self.forms.get(&Handles { net, form: *form }) else {
            return Place::of_handle(handle);
        };
        let own = domain.and_then(|domain| self.last(net, root, domain));
        let said = || {
            let mut all = self.of_root(net, *root);
            all.find(|last| Some(last.fsid) == handle)
        };
        let last = own.or_else(said).or_else(|| self.latest(net, root));
        let number = handle.filter(|fsid| matches!(fsid, Fsid::Num(_)));
        Place {
            handle,
            export: number.or(last.map(|last| last.fsid)),
            device: Some(root.device),
            above: last
                .filter(|_| number.is_none())
                .and_then(|last| self.above(net, last)),
            file_system: last.map(|last| last.file_system),
        }
    }

    /// Where what is exported to a domain is, as it is exported now, or was last.
    pub(crate) fn by_root(&self, net: u64, root: &Root, domain: u64) -> Option<Place> {
        let last = self.last(net, root, domain)?;
        Some(self.place(net, root, last))
    }

    fn place(&self, net: u64, root: &Root, last: Last) -> Place {
        Place {
            handle: None,
            export: Some(last.fsid),
            device: Some(root.device),
            above: self.above(net, last),
            file_system: Some(last.file_system),
        }
    }

    /// All exports of a namespace, where they are, and whether they show what is mounted below.
    pub(crate) fn all(&self, net: u64) -> impl Iterator<Item = (Place, bool)> + '_ {
        let domain = 0;
        let root = Root::FIRST;
        self.exports_from(Exported { net, root, domain })
            .take_while(move |(key, _)| key.net == net)
            .map(move |(key, last)| (self.place(net, &key.root, last), last.how.crossmnt))
    }

    /// Which directory is an export below, and was rpc.mountd asked for that, as far as is known?
    pub(crate) fn below(&self, net: u64, export: &Export) -> (Option<Root>, bool) {
        self.last(net, &export.root, export.domain)
            .map_or((None, false), |last| (last.below, last.how.asked))
    }

    fn last(&self, net: u64, root: &Root, domain: u64) -> Option<Last> {
        let key = Exported {
            net,
            root: *root,
            domain,
        };
        self.exports.get(&key).copied()
    }

    fn latest(&self, net: u64, root: &Root) -> Option<Last> {
        self.of_root(net, *root).max_by_key(|last| last.sequence)
    }

    /// Is a directory exported for more than that it leads to other exports?
    pub(crate) fn is_real(&self, net: u64, root: &Root) -> bool {
        self.of_root(net, *root).any(|last| !last.how.pseudo)
    }

    /// The export that one is mounted below.
    fn up(&self, net: u64, last: Last) -> Option<(Root, Last)> {
        let root = last.below?;
        let all = self.of_root(net, root).filter(|last| !last.how.pseudo);
        Some((root, all.max_by_key(|last| last.sequence)?))
    }

    /// The exports that one is mounted below, the nearest first.
    fn all_above(&self, net: u64, last: Last) -> impl Iterator<Item = (Root, Last)> + '_ {
        let first = self.up(net, last);
        core::iter::successors(first, move |(_, last)| self.up(net, *last)).take(MAX_DEPTH)
    }

    /// The export that one is a part of: the nearest one above that has a number, or the topmost. One that has a number is no
    /// part of another; nor is one of an export that does not show it.
    fn above(&self, net: u64, last: Last) -> Option<Fsid> {
        let (mut at, mut topmost) = (last, None);
        for (_, up) in self.all_above(net, last) {
            if is_number(at) || !(up.how.crossmnt || at.how.nohide) {
                break;
            }
            topmost = Some(up.fsid);
            at = up;
        }
        topmost
    }

    /// The first export that is below one of a scope, and that the scope does not cover, after another in the order of the
    /// table.
    pub(crate) fn beside(&self, net: u64, scope: &Scope, after: Option<Beside>) -> Option<Beside> {
        let is_of = |root: &Root, last: Last| scope.covers(&self.place(net, root, last));
        let mut all = self.exports.iter();
        let (key, last) = all.find(|(key, last)| {
            key.net == net
                && last.below.is_some()
                && after.is_none_or(|after| **key > after.key)
                && !is_of(&key.root, **last)
                && self
                    .all_above(net, **last)
                    .any(|(root, above)| is_of(&root, above))
        })?;
        Some(Beside {
            key: *key,
            fsid: last.fsid,
        })
    }

    /// The fsid by which a directory is exported now, or was last, to whom that was noted last.
    pub(crate) fn by_directory(&self, net: u64, root: &Root) -> Option<Fsid> {
        Some(self.latest(net, root)?.fsid)
    }

    /// All by which a directory was exported.
    fn of_root(&self, net: u64, root: Root) -> impl Iterator<Item = Last> + '_ {
        let domain = 0;
        self.exports_from(Exported { net, root, domain })
            .take_while(move |(key, _)| (key.net, key.root) == (net, root))
            .map(|(_, last)| last)
    }

    /// All exports from one on.
    fn exports_from(&self, first: Exported) -> impl Iterator<Item = (Exported, Last)> + '_ {
        let mut from = Some(first);
        core::iter::from_fn(move || {
            let found = self.exports.cursor_lower_bound(&from?)?;
            let (key, last) = (*found.current().0, *found.current().1);
            // A domain with the last number of all would be the last one that is found: it is a hash.
            from = key
                .domain
                .checked_add(1)
                .map(|domain| Exported { domain, ..key });
            Some((key, last))
        })
    }

    /// The device of what is exported by an fsid now, or was last.
    pub(crate) fn device_of(&self, net: u64, fsid: &Fsid) -> Option<Fsid> {
        let (root, domain) = (Root::FIRST, 0);
        self.exports_from(Exported { net, root, domain })
            .take_while(|(key, _)| key.net == net)
            .filter(|(_, last)| last.fsid == *fsid)
            .max_by_key(|(_, last)| last.sequence)
            .map(|(key, _)| key.root.device)
    }

    /// Forgets what was noted of a net namespace, but no more than `limit` of each kind. Returns whether that was all.
    pub(crate) fn forget(&mut self, net: u64, limit: usize) -> bool {
        let first_form = Handles {
            net,
            form: Form::FIRST,
        };
        let first_export = Exported {
            net,
            root: Root::FIRST,
            domain: 0,
        };
        for _ in 0..limit {
            let form = self.forms.cursor_lower_bound(&first_form);
            let form = form.map(|at| *at.current().0).filter(|key| key.net == net);
            let export = self.exports.cursor_lower_bound(&first_export);
            let export = export
                .map(|at| *at.current().0)
                .filter(|key| key.net == net);
            if form.is_none() && export.is_none() {
                return true;
            }
            self.count -= usize::from(form.is_some()) + usize::from(export.is_some());
            form.and_then(|key| self.forms.remove(&key));
            export.and_then(|key| self.exports.remove(&key));
        }
        false
    }
}
