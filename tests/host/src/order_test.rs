// SPDX-License-Identifier: GPL-2.0

use crate::drain::order::{parse, Order, Then};
use kernel::code::EINVAL;
use proptest::prelude::*;
use std::net::IpAddr;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn orders_are_read() {
    let v4 = address("192.0.2.50");
    let v6 = address("2001:db8::1");
    for (line, order) in [
        ("192.0.2.50", Order::Begin(v4, 10, Then::Close)),
        ("192.0.2.50 0", Order::Begin(v4, 0, Then::Close)),
        ("192.0.2.50 0600", Order::Begin(v4, 600, Then::Close)),
        ("192.0.2.50 keep", Order::Begin(v4, 10, Then::Keep)),
        ("192.0.2.50 5 keep", Order::Begin(v4, 5, Then::Keep)),
        ("::ffff:192.0.2.50 7", Order::Begin(v4, 7, Then::Close)),
        ("2001:DB8:0::1 3", Order::Begin(v6, 3, Then::Close)),
        ("-192.0.2.50", Order::End(v4)),
        ("-::ffff:192.0.2.50", Order::End(v4)),
        ("-2001:db8::1", Order::End(v6)),
    ] {
        assert_eq!(parse(line), Ok(order), "{line}");
    }
}

#[test]
fn others_are_refused() {
    for line in [
        "",
        "-",
        " ",
        "x",
        "192.0.2",
        "192.0.2.50 ",
        " 192.0.2.50",
        "192.0.2.50 601",
        "192.0.2.50 -1",
        "192.0.2.50 +1",
        "192.0.2.50 1 1",
        "192.0.2.50  1",
        "192.0.2.50 99999999999",
        "--192.0.2.50",
        "-192.0.2.50 1",
        "-192.0.2.50 keep",
        "keep",
        " keep",
        "192.0.2.50 keep 5",
        "192.0.2.50 5 keep ",
        "192.0.2.50 5  keep",
        "192.0.2.50 keep keep",
        "192.0.2.50 kept",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "fe80::1%2",
        "ip:192.0.2.50",
        "192.0.2.50/24",
    ] {
        assert_eq!(parse(line), Err(EINVAL), "{line}");
    }
}

proptest! {
    #[test]
    fn any_address_and_time(bits: u32, bits6: u128, seconds in 0..=600_u32) {
        for address in [IpAddr::V4(bits.into()), IpAddr::V6(bits6.into())] {
            let canonical = address.to_canonical();
            let good = !canonical.is_unspecified() && !canonical.is_multicast();
            let wanted = |order| if good { Ok(order) } else { Err(EINVAL) };
            prop_assert_eq!(parse(&format!("{address} {seconds}")), wanted(Order::Begin(canonical, seconds, Then::Close)));
            prop_assert_eq!(parse(&format!("{address} {seconds} keep")), wanted(Order::Begin(canonical, seconds, Then::Keep)));
            prop_assert_eq!(parse(&format!("-{address}")), wanted(Order::End(canonical)));
        }
    }

    #[test]
    fn nothing_panics(line: String) {
        let _ = parse(&line);
    }
}
