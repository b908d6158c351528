// SPDX-License-Identifier: GPL-2.0

//! The room of the same name, or what stands in for it.

#[path = "client_table.rs"]
pub(crate) mod client_table;
/// Where clients of NFSv4.0 come from: nobody asks.
pub(crate) mod clientids {
    use super::nfs4_client::Nfs4Client;
    use crate::base::net::Net;

    pub(crate) fn gone(_: &Nfs4Client) {}
    pub(crate) fn forget(_: Net<'_>) {}
}
/// Clients that have rebooted: none.
pub(crate) mod formers {
    use crate::scopes::place::ExportId;
    use kernel::prelude::*;

    pub(crate) fn exports(_: u64, _: &[u8], _: &mut dyn FnMut(ExportId) -> Result) -> Result {
        Ok(())
    }
}
/// Who expires many clients: nobody.
pub(crate) mod server {
    pub(crate) struct Expiring;

    impl Expiring {
        pub(crate) fn is_current() -> bool {
            false
        }
    }
}
#[path = "../../../rust/nfs4/identity.rs"]
pub(crate) mod identity;
#[path = "../../../rust/nfs4/look.rs"]
pub(crate) mod look;
#[path = "nfs4_client.rs"]
pub(crate) mod nfs4_client;
#[path = "nfsd.rs"]
pub(crate) mod nfsd;
#[path = "../../../rust/nfs4/record.rs"]
pub(crate) mod record;
#[path = "../../../rust/nfs4/records.rs"]
pub(crate) mod records;
