// SPDX-License-Identifier: GPL-2.0

//! Who has the NFS client send RECLAIM_COMPLETE that was held back.
//!
//! The NFS client's state manager sends it, as it would have at first: so it never comes in the midst of its own recovery, as
//! when the original server has restarted.

use crate::base::module_ref::ModuleRef;
use crate::reexport::nfs_client::ClientRef;
use kernel::prelude::*;
use kernel::sync::{new_spinlock, Arc, SpinLock};
use kernel::time::{delay::fsleep, Delta};
use kernel::workqueue::{self, impl_has_work, new_work, Work, WorkItem};

/// The time until it is looked whether it was sent, and until it is tried again.
const SOON: Delta = Delta::from_millis(100);
const PAUSE: Delta = Delta::from_secs(1);

/// Is it to be sent to the original server with a number, after so many tries? What is to be done in the end is done when this
/// says no. The reference to the client is the sender's.
pub(crate) type IsToSend = fn(usize, u32, &ClientRef) -> bool;

/// One for each original server, made when RECLAIM_COMPLETE is held back, so that nothing can fail later.
#[pin_data]
pub(crate) struct Sender {
    #[pin]
    work: Work<Sender>,
    number: usize,
    is_to_send: IsToSend,
    #[pin]
    client: SpinLock<Option<ClientRef>>,
    // The module stays until it was sent.
    _module: ModuleRef,
}

impl_has_work! {
    impl HasWork<Self> for Sender { self.work }
}

impl Sender {
    /// One for the original server with a number. Fails with `ENOMEM`, or `ENODEV` if the module is being unloaded.
    pub(crate) fn new(number: usize, is_to_send: IsToSend) -> Result<Arc<Self>> {
        let module = ModuleRef::get().ok_or(ENODEV)?;
        Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("nfsd_ha::Sender"),
                number,
                is_to_send,
                client <- new_spinlock!(None, "nfsd_ha::Sender"),
                _module: module,
            }),
            GFP_KERNEL,
        )
    }

    /// It is to be sent now. Does not sleep.
    pub(crate) fn send(self: Arc<Self>, client: ClientRef) {
        *self.client.lock() = Some(client);
        // It is queued once, so this does not fail.
        let _ = workqueue::system_long().enqueue(self);
    }
}

impl WorkItem for Sender {
    type Pointer = Arc<Sender>;

    fn run(this: Arc<Sender>) {
        let client = this.client.lock().take();
        let Some(client) = client else {
            return;
        };
        let (mut tries, mut pause) = (0, SOON);
        while (this.is_to_send)(this.number, tries, &client) {
            client.reclaim_complete();
            fsleep(pause);
            pause = PAUSE;
            tries += 1;
        }
    }
}
