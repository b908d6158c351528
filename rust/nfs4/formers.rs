// SPDX-License-Identifier: GPL-2.0

//! All former selves: clients that have rebooted, whose opens and locks stay until the new self has reclaimed them.
//!
//! ```text
//!   CREATE_SESSION of a client that has rebooted
//!        |  nfsd takes the old client out of its tables, and would free it with all that it holds
//!        v
//!     keep() ---> a former self ---> RECLAIM_COMPLETE of the new one, or a lease later    ---> what is left of it
//!                   |                (two at most while it reclaims), or the server stops      ends
//!                   v
//!                 OPEN and LOCK that reclaim: it had that, and the new self has it now
//! ```
//!
//! Others are refused what conflicts with it as before, also who waits; and nobody who asks for something else notices. NFSv4.0
//! has no RECLAIM_COMPLETE, and is as with the stock kernel.
//!
//! Lock order: `nfsd_mutex`, or a stateid's `st_mutex`; the table's lock; nfsd's `client_lock`, `cl_lock` and so on.

use crate::base::clock::since_boot;
use crate::base::former_param;
use crate::base::global::Global;
use crate::base::in_force;
use crate::base::index::KeyedHash;
use crate::base::net::Net;
use crate::base::private;
use crate::base::setup::Setup;
use crate::base::siphash::SipHash;
use crate::nfs4::client_table::ClientTable;
use crate::nfs4::former::{self, FormerSelf};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::nfs4::stateids::{Kind, Part, PinnedStateid, Stateid};
use crate::scopes::in_grace::{self, Reason};
use crate::scopes::place::ExportId;
use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::prelude::*;
use kernel::sync::lock::{mutex::MutexBackend, Guard};
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};
use kernel::time::msecs_to_jiffies;
use kernel::workqueue::{self, impl_has_work, new_work, Work, WorkItem};

/// Former selves at most, in all and of one client: a bound on what clients hold that reboot and do not finish. Who reboots
/// more often loses what the first of them had.
const MAX: usize = 16_384;
pub(crate) const MAX_OF_CLIENT: usize = 8;

static SELVES: Global<Mutex<Option<Arc<FormerSelves>>>> = Global::new();
/// How many there are, to be asked without a lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The worker that ends them, and the table.
#[pin_data]
pub(crate) struct FormerSelves {
    #[pin]
    work: Work<FormerSelves>,
    #[pin]
    table: Mutex<Table>,
    names: SipHash,
    /// One has come or gone, or is not used any more.
    #[pin]
    changed: CondVar,
}

impl_has_work! {
    impl HasWork<Self> for FormerSelves { self.work }
}

/// The table, locked.
pub(crate) type Locked<'a> = Guard<'a, Table, MutexBackend>;

/// What the lock guards.
#[derive(Default)]
pub(crate) struct Table {
    /// The older ones first.
    selves: KVVec<FormerSelf>,
    /// The namespaces of those that are being ended, by their cookies.
    ending: KVVec<u64>,
    /// How many there were.
    made: u64,
    busy: bool,
    stopped: bool,
}

impl Table {
    /// Those of a client, the older ones first.
    pub(crate) fn of<'a>(
        &'a mut self,
        client: &'a Nfs4Client,
        hash: u64,
    ) -> impl Iterator<Item = &'a mut FormerSelf> {
        let is_its = move |one: &&mut FormerSelf| one.is_of(client, hash);
        self.selves.iter_mut().filter(is_its)
    }

    /// The one with a number.
    pub(crate) fn numbered(&mut self, number: u64) -> Option<&mut FormerSelf> {
        self.selves.iter_mut().find(|one| one.number == number)
    }

    /// Says how many there are. Who asks does so without the lock.
    fn publish(&self) {
        let count = self.selves.len();
        if (COUNT.swap(count, Ordering::AcqRel) == 0) != (count == 0) {
            in_grace::ask_for(Reason::Former, count != 0);
        }
    }
}

/// Why a former self ends.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// Its new self has sent RECLAIM_COMPLETE, or DESTROY_CLIENTID.
    Complete,
    /// It has not, for a lease.
    Late,
    /// Its client has rebooted once more.
    TooMany,
    ByAdmin,
    ServerStops,
    Unpatched,
}

/// Is there a former self? Costs a load. Does not sleep.
#[inline]
pub(crate) fn any() -> bool {
    COUNT.load(Ordering::Acquire) != 0
}

/// The table and its worker, until the module's exit. May sleep.
pub(crate) fn selves() -> Result<Arc<FormerSelves>> {
    SELVES.lock().clone().ok_or(ENODEV)
}

impl FormerSelves {
    /// Makes the table. For this module's init, which does it once.
    pub(crate) fn new(setup: &Setup) -> Result<Arc<Self>> {
        SELVES.init(setup, new_mutex!(None, "nfsd_ha::SELVES"));
        let selves = Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("nfsd_ha::FormerSelves"),
                table <- new_mutex!(Table::default(), "nfsd_ha::FormerSelves"),
                names: SipHash::random(),
                changed <- new_condvar!("nfsd_ha::FormerSelves"),
            }),
            GFP_KERNEL,
        )?;
        *SELVES.lock() = Some(selves.clone());
        Ok(selves)
    }

    /// Locks the table. May sleep.
    pub(crate) fn lock(&self) -> Locked<'_> {
        self.table.lock()
    }

    /// The hash of a client's name, for [`Table::of`].
    pub(crate) fn hash(&self, client: &Nfs4Client) -> u64 {
        self.names.hash(client.name())
    }

    /// Some that were used are not any more. Does not sleep.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Keeps a client that CREATE_SESSION is about to free. Returns whether it does. May sleep.
    ///
    /// # Safety
    ///
    /// The client is in no table of its server, whose thread this is, and the caller's to free; if it is kept, not any more.
    pub(crate) unsafe fn keep(self: &Arc<Self>, client: &Nfs4Client) -> bool {
        if !is_wanted(client) {
            return false;
        }
        let Ok(Some(prepared)) = FormerSelf::prepare(client) else {
            return false;
        };
        let_go_of_the_rest(client);
        {
            let mut table = self.lock();
            if table.stopped || !in_force::is() || table.selves.len() + table.ending.len() >= MAX {
                return false;
            }
            // One for each may be ended at the same time.
            let room = table.selves.len() + table.ending.len() + 1;
            let more = room.saturating_sub(table.ending.len());
            if table.selves.reserve(1, GFP_KERNEL).is_err()
                || table.ending.reserve(more, GFP_KERNEL).is_err()
            {
                return false;
            }
            client.make_active();
            former::pass_on_record(client);
            table.made += 1;
            let (number, hash) = (table.made, self.hash(client));
            // SAFETY: By this function's requirement. The end of the server ends it before, which needs the lock.
            let former = unsafe { FormerSelf::new(client, prepared, number, hash) };
            // There is room, so this does not fail.
            let _ = table.selves.push(former, GFP_ATOMIC);
            table.publish();
            if !table.busy {
                table.busy = workqueue::system_long().enqueue(self.clone()).is_ok();
            }
            self.changed.notify_all();
        }
        if let Some(number) = self.too_many(client) {
            self.end(|one| one.number == number, Why::TooMany);
        }
        true
    }

    /// The number of a client's oldest one, if there are too many.
    fn too_many(&self, client: &Nfs4Client) -> Option<u64> {
        let (hash, mut table) = (self.hash(client), self.lock());
        let count = table.of(client, hash).count();
        let first = table.of(client, hash).next().map(|one| one.number);
        first.filter(|_| count > MAX_OF_CLIENT)
    }

    /// Ends those that `pick` says so of, when nobody uses them any more. Returns how many. May sleep.
    fn end(&self, pick: impl Fn(&FormerSelf) -> bool, why: Why) -> usize {
        let mut count = 0;
        let mut table = self.lock();
        while let Some(at) = table.selves.iter().position(&pick) {
            let former = &mut table.selves[at];
            if former.users > 0 || former.is_revoked {
                self.changed.wait(&mut table);
                continue;
            }
            // As long as it is in the table: whose they are finds them there before it goes, and no LOCK comes in between.
            former.unlock_rests(|_| true);
            let Ok(former) = table.selves.remove(at) else {
                break;
            };
            let net = former.client().nfsd().net().cookie();
            // There is room for each, so this does not fail.
            let _ = table.ending.push(net, GFP_ATOMIC);
            table.publish();
            drop(table);
            pr_debug!("a former self ends after {} ms: {why:?}\n", former.age());
            former.wait_for_readers();
            drop(former);
            table = self.lock();
            if let Some(at) = table.ending.iter().position(|one| *one == net) {
                let _ = table.ending.remove(at);
            }
            self.changed.notify_all();
            count += 1;
        }
        count
    }

    /// Ends all of a namespace, or all, and waits until those have ended that somebody else is about to end. May sleep.
    fn end_all(&self, net: Option<Net<'_>>, why: Why) {
        let is_of = |one: &FormerSelf| net.is_none_or(|net| one.is_in(net));
        self.end(is_of, why);
        let mut table = self.lock();
        let is_ending = |one: &u64| net.is_none_or(|net| net.cookie() == *one);
        while table.ending.iter().any(is_ending) {
            self.changed.wait(&mut table);
        }
    }

    /// Ends all, and the worker. For this module's exit. May sleep.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.end_all(None, Why::Unpatched);
        *SELVES.lock() = None;
        let mut table = self.lock();
        while table.busy {
            self.changed.notify_all();
            self.changed.wait(&mut table);
        }
        *table = Table {
            stopped: true,
            ..Table::default()
        };
    }

    /// Has what former selves hold of those that `is_of` is about revoked, as far as `pick` says, one stateid after the other.
    /// Calls `taken` with each before, with the table and the client's `cl_lock` held. May sleep; `nfsd_mutex` is held.
    pub(crate) fn revoke(
        &self,
        is_of: impl Fn(&Nfs4Client) -> bool,
        pick: impl Fn(&Nfs4Client, &Stateid<'_>) -> bool,
        mut taken: impl FnMut(&Stateid<'_>, Kind),
    ) {
        let mut last = 0;
        while let Some(number) = self.begin_to_revoke(last, &is_of) {
            last = number;
            let mut from = 0;
            loop {
                let mut table = self.lock();
                // It is being revoked, so it is there.
                let Some(former) = table.numbered(number) else {
                    break;
                };
                let client = former.client();
                let part = client.lock_state().find_part(from, |next, stateid| {
                    let kind = stateid.kind().filter(|_| pick(client, &stateid))?;
                    let pinned = stateid.pin(client)?.into_raw();
                    taken(&stateid, kind);
                    stateid.leave_owner();
                    Some((next + 1, pinned, stateid.file_system()))
                });
                let (next, pinned, file_system) = match part {
                    Part::Found(found) => found,
                    Part::More(next) => {
                        from = next;
                        continue;
                    }
                    Part::End => break,
                };
                from = next;
                let client = client.as_ptr();
                // What was not reclaimed keeps the file system from being unmounted.
                former.unlock_rests(|rest| rest.file.is_on(file_system));
                // A stateid's mutex comes before the table's lock.
                drop(table);
                // SAFETY: The former self is being revoked, so its client stays. It was pinned just now, as one of its.
                unsafe { PinnedStateid::from_raw(pinned).revoke(Nfs4Client::from_raw(client)) };
            }
            let mut table = self.lock();
            if let Some(former) = table.numbered(number) {
                former.look_again();
                former.is_revoked = false;
            }
            self.notify();
        }
        self.end(|one| one.until() == 0, Why::ByAdmin);
    }

    /// The next former self after one that is to be revoked, when no LOCK is about it.
    fn begin_to_revoke(&self, last: u64, is_of: impl Fn(&Nfs4Client) -> bool) -> Option<u64> {
        let mut table = self.lock();
        loop {
            let next = |one: &&mut FormerSelf| one.number > last && is_of(one.client());
            let former = table.selves.iter_mut().find(next)?;
            if former.users == 0 && !former.is_revoked {
                former.is_revoked = true;
                former.wait_for_readers();
                return Some(former.number);
            }
            self.changed.wait(&mut table);
        }
    }
}

impl WorkItem for FormerSelves {
    type Pointer = Arc<FormerSelves>;

    fn run(this: Arc<FormerSelves>) {
        loop {
            this.end(|one| one.until() <= since_boot(), Why::Late);
            let mut table = this.lock();
            let Some(next) = table.selves.iter().map(FormerSelf::until).min() else {
                table.busy = false;
                this.changed.notify_all();
                return;
            };
            let left = (next - since_boot()).max(0) / 1_000_000 + 1;
            let left = msecs_to_jiffies(u32::try_from(left).unwrap_or(u32::MAX));
            let _ = this.changed.wait_interruptible_timeout(&mut table, left);
        }
    }
}

/// Is a client to be kept, as far as is known without its state: is it of NFSv4.1 or later, does the parameter say so, and
/// has its new self its credentials? Takes `client_lock`.
fn is_wanted(client: &Nfs4Client) -> bool {
    if client.minor_version() == 0 || !former_param::is_for(client.address()) {
        return false;
    }
    // SAFETY: A thread of the server asks, so it does not stop.
    let table = unsafe { ClientTable::lock(NfsdNet::of(client.nfsd())) };
    let new = table.with_name(client.name());
    new.is_some_and(|new| new.has_credentials_of(client))
}

/// Ends what nobody can reclaim, and what others would wait for: delegations, layouts, and copies that are under way. May
/// sleep.
fn let_go_of_the_rest(client: &Nfs4Client) {
    let is_one = |kind: &Kind| matches!(kind, Kind::Delegation | Kind::Layout);
    let mut from = 0;
    while let Some(pinned) = client.find_next(&mut from, |stateid| {
        stateid.kind().filter(is_one)?;
        Some(stateid.pin(client)?.into_raw())
    }) {
        // SAFETY: It was pinned just now, as one of this client, which is the caller's.
        unsafe { PinnedStateid::from_raw(pinned).revoke(client) };
    }
    // SAFETY: The client is valid.
    unsafe { private::nfsd4_shutdown_copy(client.as_ptr()) };
}

/// A client has reclaimed all, or is gone: its former selves end. May sleep.
pub(crate) fn complete(client: &Nfs4Client) {
    if let (true, Ok(selves)) = (any(), selves()) {
        let hash = selves.hash(client);
        selves.end(|one| one.is_of(client, hash), Why::Complete);
    }
}

/// Has a client former selves, and had one of them the file of this handle open? Notes that it is reclaimed then. May sleep.
pub(crate) fn opens(client: &Nfs4Client, handle: &[u8]) -> bool {
    let Ok(selves) = selves() else {
        return false;
    };
    let hash = selves.hash(client);
    let mut table = selves.lock();
    let found = table.of(client, hash).find(|one| one.had(handle));
    found.map(FormerSelf::reclaimed).is_some()
}

/// May a client have former selves? Does not sleep.
pub(crate) fn may_have(client: &Nfs4Client) -> bool {
    any() && client.minor_version() != 0 && !client.is_complete()
}

/// Has a client former selves? May sleep.
pub(crate) fn has_any(client: &Nfs4Client) -> bool {
    may_have(client)
        && selves().is_ok_and(|selves| {
            let hash = selves.hash(client);
            selves.lock().of(client, hash).next().is_some()
        })
}

/// Calls `f` with all that there are, with the table locked. May sleep, if `f` may.
pub(crate) fn with<R>(f: impl FnOnce(&[FormerSelf]) -> R) -> R {
    match selves() {
        Ok(selves) => f(&selves.lock().selves),
        Err(_) => f(&[]),
    }
}

/// Calls `f` with the exports that former selves with a name hold something on in a namespace. Fails as `f` does. May sleep, if
/// `f` may.
pub(crate) fn exports(net: u64, name: &[u8], f: &mut dyn FnMut(ExportId) -> Result) -> Result {
    if !any() {
        return Ok(());
    }
    with(|all| {
        for one in all.iter().map(FormerSelf::client) {
            if one.nfsd().net().cookie() != net || one.name() != name {
                continue;
            }
            let mut from = 0;
            while let Some(export) = one.find_next(&mut from, |stateid| {
                stateid.kind().filter(|_| !stateid.is_of_directory())?;
                stateid.place().export_id()
            }) {
                f(export)?;
            }
        }
        Ok(())
    })
}

/// nfsd is about to free a client: what its lock owners have, and have not reclaimed, goes with it. May sleep.
pub(crate) fn goes(client: &Nfs4Client) {
    if let (true, Ok(selves)) = (any(), selves()) {
        for former in &mut selves.lock().selves {
            former.rests.retain(|rest| !rest.owner.is_of(client));
        }
    }
}

/// How many there are in a namespace. May sleep.
pub(crate) fn count(net: Net<'_>) -> usize {
    with(|all| all.iter().filter(|one| one.is_in(net)).count())
}

/// The server of a namespace stops. Its threads have ended. May sleep.
pub(crate) fn server_stops(net: Net<'_>) {
    if let Ok(selves) = selves() {
        selves.end_all(Some(net), Why::ServerStops);
    }
}

/// The livepatch is being switched off: nobody would end them. May sleep.
pub(crate) fn switched_off() {
    if let Ok(selves) = selves() {
        selves.end_all(None, Why::Unpatched);
    }
}

/// An admin has the client expired whose directory below `clients` this is. Returns whether that was a former self. May sleep.
pub(crate) fn expire(directory: *const c_void) -> bool {
    let is_it = |one: &FormerSelf| one.client().has_directory(directory);
    selves().is_ok_and(|selves| selves.end(is_it, Why::ByAdmin) > 0)
}

/// Has what former selves of a server hold revoked, as far as `pick` says, as nfsd does it with clients. May sleep;
/// `nfsd_mutex` is held.
pub(crate) fn revoke(nn: *const private::nfsd_net, pick: impl Fn(&Stateid<'_>) -> bool) {
    if let (true, Ok(selves)) = (any(), selves()) {
        selves.revoke(|one| one.is_in(nn), |_, stateid| pick(stateid), |_, _| {});
    }
}
