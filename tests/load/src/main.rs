// SPDX-License-Identifier: GPL-2.0
//! Load for an NFSv4.1 server, from any number of clients.

fn main() {}
