// SPDX-License-Identifier: GPL-2.0

//! What comes to an address that drains: requests, which are dropped, and new connections, which are refused.

use crate::base::net::Net;
use crate::base::private::{self, sk_buff, sock, svc_rqst};
use crate::base::sockaddr;
use crate::drain::addresses::{self, Address};
use crate::drain::transport::Transport;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ptr::{self, addr_of, NonNull};
use kernel::ffi::{c_int, c_void};

/// AF_INET and AF_INET6 (`include/linux/socket.h`).
const INET: c_int = 2;
const INET6: c_int = 10;

/// Is a request to be dropped: neither executed nor answered, as its client repeats it elsewhere, or on another
/// connection? Its connection drains from then on. Does not sleep.
///
/// # Safety
///
/// The request is the current thread's, which has just received it.
pub(crate) unsafe fn is_dropped(request: *mut svc_rqst) -> bool {
    if !addresses::any() {
        return false;
    }
    // SAFETY: The request has a reference to its transport, if it has one, and that one to its namespace. It has its
    // addresses.
    let (transport, net, address) = unsafe {
        let Some(raw) = NonNull::new((*request).rq_xprt) else {
            return false;
        };
        (
            Transport::from_raw(raw),
            Net::from_raw((*raw.as_ptr()).xpt_net),
            sockaddr::address(&(*request).rq_daddr),
        )
    };
    let is_dropped = |one: &Address| {
        if one.refuses() && transport.is_connection() {
            transport.set_drains();
        }
        one.refuses() || transport.drains()
    };
    address.and_then(|address| addresses::with(net.cookie(), address, is_dropped)) == Some(true)
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
        if addresses::any() && is_refused((*ops).family, listener, packet) {
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
///
/// Sockets that listen are known by what sunrpc has them call: those of nfsd and lockd, and the one at which a client of
/// NFSv4.0 of this machine is called back.
///
/// # Safety
///
/// The listener has received the packet, a SYN of this family.
unsafe fn is_refused(family: c_int, listener: *const sock, packet: *const sk_buff) -> bool {
    // SAFETY: The socket listens, so its callback is there, and its namespace. Only the callback's address is
    // compared, which is null if sunrpc is not loaded.
    let (net, address) = unsafe {
        let own: unsafe extern "C" fn(*mut sock) = private::svc_tcp_listen_data_ready;
        let callback = addr_of!((*listener).sk_data_ready)
            .cast::<*const c_void>()
            .read_volatile();
        if callback.is_null() || !ptr::eq(callback, own as *const c_void) {
            return false;
        }
        let net = Net::from_raw((*listener).__sk_common.skc_net.net);
        (net, destination(family, packet))
    };
    let is_refused = |one: &Address| {
        if one.refuses() {
            one.count_refused();
        }
        one.refuses()
    };
    address.and_then(|address| addresses::with(net.cookie(), address, is_refused)) == Some(true)
}

/// Where a packet goes to. Does not sleep.
///
/// # Safety
///
/// TCP has received the packet, over IPv4 or IPv6 as the family says: its headers are in one piece.
unsafe fn destination(family: c_int, packet: *const sk_buff) -> Option<IpAddr> {
    // SAFETY: As the caller says. The address is that of the packet's network header, which may be anywhere.
    unsafe {
        let header = usize::from((*packet).__bindgen_anon_4.headers.as_ref().network_header);
        let header = (*packet).head.add(header);
        match family {
            INET => {
                let at = addr_of!(
                    (*header.cast::<private::iphdr>())
                        .__bindgen_anon_1
                        .addrs
                        .daddr
                );
                Some(IpAddr::V4(Ipv4Addr::from(at.cast::<[u8; 4]>().read())))
            }
            INET6 => {
                let at = addr_of!(
                    (*header.cast::<private::ipv6hdr>())
                        .__bindgen_anon_1
                        .addrs
                        .daddr
                );
                let address = Ipv6Addr::from(at.cast::<[u8; 16]>().read());
                Some(IpAddr::V6(address).to_canonical())
            }
            _ => None,
        }
    }
}
