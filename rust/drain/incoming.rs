// SPDX-License-Identifier: GPL-2.0

//! What comes to an address that drains: requests, which are dropped, and new connections, which are refused.

use crate::base::net::Net;
use crate::base::private::{self, sk_buff, sock};
use crate::drain::addresses::{self, Address};
use crate::scopes::received::Received;
use core::marker::PhantomData;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ptr::{self, addr_of};
use kernel::ffi::{c_int, c_void};

/// AF_INET and AF_INET6 (`include/linux/socket.h`).
const INET: c_int = 2;
const INET6: c_int = 10;

/// Is a request to be dropped: neither executed nor answered, as its client repeats it elsewhere, or on another
/// connection? Its connection drains from then on. Does not sleep.
#[inline]
pub(crate) fn is_dropped(request: &Received<'_>) -> bool {
    addresses::any() && is_for_one(request)
}

/// The same, as something drains.
#[inline(never)]
fn is_for_one(request: &Received<'_>) -> bool {
    let (Some(transport), Some(address)) = (request.transport(), request.server()) else {
        return false;
    };
    let is_dropped = |one: &Address| {
        if one.refuses() && transport.is_connection() {
            transport.set_drains();
        }
        one.refuses() || transport.drains()
    };
    addresses::with(request.net().cookie(), address, is_dropped) == Some(true)
}

/// Replaces `tcp_conn_request()`. For softirqs: does not sleep.
///
/// While nothing drains this costs all new connections of the machine a load and a comparison, beside what livepatch does.
///
/// # Safety
///
/// As for the function replaced: the listener has received the packet, a SYN.
pub(crate) unsafe extern "C" fn conn_request(
    ops: *mut private::request_sock_ops,
    af_ops: *const private::tcp_request_sock_ops,
    listener: *mut sock,
    packet: *mut sk_buff,
) -> c_int {
    // SAFETY: These are the arguments of the function replaced, and what it may give to the operation: TCP has it reset
    // what no socket wants.
    unsafe {
        // INVARIANT: TCP has received it, and its operations are those of the packet's family.
        let syn = || Syn {
            family: (*ops).family,
            listener,
            packet,
            lifetime: PhantomData,
        };
        if addresses::any() && is_refused(&syn()) {
            if let Some(send_reset) = (*ops).send_reset {
                let reason = private::sk_rst_reason_SK_RST_REASON_NO_SOCKET;
                send_reset(listener, packet, reason);
            }
            return 0;
        }
        private::tcp_conn_request(ops, af_ops, listener, packet)
    }
}

/// Is a new connection to be refused, as if nobody listened? Counts it then. Does not sleep.
fn is_refused(syn: &Syn<'_>) -> bool {
    let is_refused = |one: &Address| {
        if one.refuses() {
            one.count_refused();
        }
        one.refuses()
    };
    let target = syn.target();
    target.and_then(|(net, to)| addresses::with(net.cookie(), to, is_refused)) == Some(true)
}

/// A packet that asks for a new connection.
///
/// # Invariants
///
/// For `'a`, TCP is at work on the packet, which the listener has received over IPv4 or IPv6 as the family says: so its headers
/// are in one piece.
struct Syn<'a> {
    family: c_int,
    listener: *const sock,
    packet: *const sk_buff,
    lifetime: PhantomData<&'a sk_buff>,
}

impl Syn<'_> {
    /// The namespace and the address that it comes to, if it is for a listener of sunrpc. Does not sleep.
    ///
    /// These are known by what sunrpc has them call: those of nfsd and lockd, and the one at which a client of NFSv4.0 of
    /// this machine is called back.
    fn target(&self) -> Option<(Net<'_>, IpAddr)> {
        // SAFETY: The socket listens, so its callback is there, and its namespace. Only the callback's address is
        // compared, which is null if sunrpc is not loaded. The packet's address is in its network header, by the type's
        // invariant, and may be at any place.
        unsafe {
            let own: unsafe extern "C" fn(*mut sock) = private::svc_tcp_listen_data_ready;
            let callback = addr_of!((*self.listener).sk_data_ready)
                .cast::<*const c_void>()
                .read_volatile();
            if callback.is_null() || !ptr::eq(callback, own as *const c_void) {
                return None;
            }
            let at = (*self.packet)
                .__bindgen_anon_4
                .headers
                .as_ref()
                .network_header;
            let header = (*self.packet).head.add(usize::from(at));
            let address = match self.family {
                INET => {
                    let header: *const private::iphdr = header.cast();
                    let to = addr_of!((*header).__bindgen_anon_1.addrs.daddr);
                    IpAddr::V4(Ipv4Addr::from(to.cast::<[u8; 4]>().read()))
                }
                INET6 => {
                    let header: *const private::ipv6hdr = header.cast();
                    let to = addr_of!((*header).__bindgen_anon_1.addrs.daddr);
                    IpAddr::V6(Ipv6Addr::from(to.cast::<[u8; 16]>().read())).to_canonical()
                }
                _ => return None,
            };
            let net = Net::from_raw((*self.listener).__sk_common.skc_net.net);
            Some((net, address))
        }
    }
}
