// SPDX-License-Identifier: GPL-2.0
//! Hosts of several kinds on the loopback device, which are all told at once.

use super::message::MAX_NAME;
use super::peer::Settings;
use super::run::Run;
use super::*;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// How a client's host behaves.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// As it should.
    Good,
    /// The first packet to each of its ports is lost.
    Lossy,
    /// It has no UDP but for rpcbind.
    OnlyTcp,
    /// It has no UDP at all.
    NoUdp,
    /// rpcbind says that there is no status monitor.
    NoStatd,
    /// What it answers is nonsense, by either way.
    Garbage,
    /// It answers from another port.
    WrongPort,
    /// It answers with another number.
    WrongXid,
    /// It refuses the notice.
    Refuses,
}

/// rpcbind and rpc.statd of one host, 127.0.0.x; what it was told.
struct Host {
    kind: Kind,
    told: Mutex<Vec<(String, i32, std::net::IpAddr, u16)>>,
    udp: UdpSocket,
    tcp: TcpListener,
    /// Where both are.
    at: SocketAddr,
}

impl Host {
    fn start(ip: &str, rpcbind: u16, kind: Kind) -> Arc<Self> {
        let at = SocketAddr::new(ip.parse().unwrap(), rpcbind);
        let host = Arc::new(Self {
            kind,
            told: Mutex::default(),
            udp: UdpSocket::bind(at).unwrap(),
            tcp: TcpListener::bind(at).unwrap(),
            at,
        });
        let (a, b) = (host.clone(), host.clone());
        thread::spawn(move || a.datagrams());
        thread::spawn(move || b.streams());
        host
    }

    fn datagrams(&self) {
        let mut buffer = [0; 1000];
        let other = UdpSocket::bind((self.at.ip(), 0)).unwrap();
        let mut lost = 0;
        loop {
            let (length, from) = self.udp.recv_from(&mut buffer).unwrap();
            let asks = buffer[12..16] == 100_000u32.to_be_bytes();
            if self.kind == Kind::NoUdp
                || (self.kind == Kind::Lossy && lost < 2 && asks == (lost == 0))
            {
                lost += 1;
                continue;
            }
            let answer = self.answer(&buffer[..length], from);
            let socket = if self.kind == Kind::WrongPort {
                &other
            } else {
                &self.udp
            };
            socket.send_to(&answer, from).unwrap();
        }
    }

    fn streams(&self) {
        for stream in self.tcp.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            if matches!(self.kind, Kind::WrongPort) {
                continue;
            }
            let from = stream.peer_addr().unwrap();
            let mut mark = [0; 4];
            stream.read_exact(&mut mark).unwrap();
            let mut call = vec![0; (u32::from_be_bytes(mark) & 0xffff) as usize];
            stream.read_exact(&mut call).unwrap();
            let answer = self.answer(&call, from);
            // In two fragments.
            let (first, second) = answer.split_at(answer.len() / 2);
            for (part, last) in [(first, 0), (second, 1 << 31)] {
                stream
                    .write_all(&(part.len() as u32 | last).to_be_bytes())
                    .unwrap();
                stream.write_all(part).unwrap();
            }
        }
    }

    fn answer(&self, call: &[u8], from: SocketAddr) -> Vec<u8> {
        let word = |n: usize| u32::from_be_bytes(call[n * 4..][..4].try_into().unwrap());
        if self.kind == Kind::Garbage {
            return b"what?".to_vec();
        }
        let (xid, program, version) = (word(0), word(3), word(4));
        let mut answer = vec![
            if self.kind == Kind::WrongXid {
                xid.wrapping_add(77)
            } else {
                xid
            },
            1,
            0,
            0,
            0,
            0,
        ];
        if program == 100_000 {
            let udp = if version == 2 {
                word(12) == 17
            } else {
                call[52..56] == *b"udp6"
            };
            let none = self.kind == Kind::NoStatd || (self.kind == Kind::OnlyTcp && udp);
            let port = self.at.port();
            if version == 2 {
                answer.push(if none { 0 } else { port.into() });
            } else if version == 4 {
                answer[5] = 2;
            } else {
                let text = if none {
                    String::new()
                } else {
                    format!("::.{}.{}", port >> 8, port & 255)
                };
                answer.push(text.len() as u32);
                let mut text = text.into_bytes();
                text.resize(text.len().next_multiple_of(4), 0);
                answer.extend(
                    text.chunks(4)
                        .map(|c| u32::from_be_bytes(c.try_into().unwrap())),
                );
            }
        } else if self.kind == Kind::Refuses {
            answer[5] = 5;
        } else {
            let length = word(10) as usize;
            let name = String::from_utf8(call[44..44 + length].to_vec()).unwrap();
            let state = word(11 + length.div_ceil(4)) as i32;
            self.told
                .lock()
                .unwrap()
                .push((name, state, from.ip(), from.port()));
        }
        answer.iter().flat_map(|word| word.to_be_bytes()).collect()
    }
}

fn run(notices: &[Notice], port: u16, limit: Duration) -> (Report, usize) {
    let settings = Settings {
        wait: Duration::from_millis(100),
        rpcbind: port,
    };
    let mut events = 0;
    let report = Run::new(notices, 77, Instant::now() + limit, settings).all(&mut |_| events += 1);
    (report, events)
}

fn notice(client: &str, server: &str) -> Notice {
    Notice::new(client.parse().unwrap(), server.parse().unwrap())
}

fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn each_kind_of_host() {
    let port = free_port();
    let kinds = [
        (Kind::Good, None),
        (Kind::Lossy, None),
        (Kind::OnlyTcp, None),
        (Kind::NoUdp, None),
        (Kind::NoStatd, Some(Trouble::NoStatd)),
        (Kind::Garbage, Some(Trouble::Nonsense)),
        (Kind::WrongPort, Some(Trouble::Nonsense)),
        (Kind::WrongXid, Some(Trouble::Nonsense)),
        (Kind::Refuses, Some(Trouble::Refused(Refusal::System))),
    ];
    let mut notices = Vec::new();
    let mut hosts = Vec::new();
    for (n, (kind, _)) in kinds.iter().enumerate() {
        let ip = format!("127.0.1.{}", n + 1);
        hosts.push(Host::start(&ip, port, *kind));
        notices.push(notice(&ip, "127.0.0.1"));
    }
    let began = Instant::now();
    let (report, events) = run(&notices, port, Duration::from_secs(2));
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(events, 4);
    let failed: HashMap<_, _> = report
        .failed
        .iter()
        .map(|(notice, trouble)| (&notice.client, trouble))
        .collect();
    for ((kind, trouble), (notice, host)) in kinds.iter().zip(notices.iter().zip(&hosts)) {
        let told = host.told.lock().unwrap();
        match trouble {
            Some(trouble)
                if *kind != Kind::Garbage
                    && *kind != Kind::WrongPort
                    && *kind != Kind::WrongXid =>
            {
                assert_eq!(failed[&notice.client], trouble);
            }
            Some(_) => assert!(failed.contains_key(&notice.client)),
            None => {
                let (name, state, from, from_port) = &told[0];
                assert_eq!((name.as_str(), *state), ("127.0.0.1", 77));
                assert_eq!(from.to_string(), "127.0.0.1");
                assert!(
                    rustix::process::geteuid().as_raw() != 0 || *from_port < 1024,
                    "{from_port}"
                );
                assert!(report
                    .confirmed
                    .iter()
                    .any(|confirmed| confirmed.notice == *notice));
            }
        }
    }
    let transport = |n: usize| {
        report
            .confirmed
            .iter()
            .find(|c| c.notice == notices[n])
            .unwrap()
            .transport
    };
    assert_eq!(
        [0, 2, 3].map(transport),
        [Transport::Udp, Transport::Tcp, Transport::Tcp]
    );
}

#[test]
fn ipv6_with_an_old_rpcbind_about_a_name() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let port = free_port();
    let host = Host::start("::1", port, Kind::Good);
    let named = Notice {
        about: "nfs-ha.example".into(),
        ..notice("::1", "::1")
    };
    let (report, _) = run(&[named.clone(), named], port, Duration::from_secs(5));
    assert_eq!(report.confirmed.len(), 1, "{:?}", report.failed);
    let told = host.told.lock().unwrap();
    assert_eq!(told.len(), 1, "twice on the list, told once");
    assert_eq!(told[0].0, "nfs-ha.example");
}

#[test]
fn what_cannot_be_is_said() {
    let long = Notice {
        about: "x".repeat(MAX_NAME + 1),
        ..notice("127.0.0.1", "127.0.0.1")
    };
    let denied = Trouble::Errno(rustix::io::Errno::ACCESS.raw_os_error());
    let cases = [
        (notice("127.0.0.1", "192.0.2.1"), Trouble::NotHere),
        (notice("127.0.0.1", "::1"), Trouble::OtherFamily),
        (notice("224.0.0.1", "127.0.0.1"), Trouble::NotOneHost),
        (notice("0.0.0.0", "127.0.0.1"), Trouble::NotOneHost),
        (notice("127.0.0.1", "224.0.0.1"), Trouble::NotOneHost),
        (notice("::1", "::"), Trouble::NotOneHost),
        (notice("255.255.255.255", "127.0.0.1"), denied),
        (notice("fe80::1", "fe80::2"), Trouble::LinkLocal),
        (notice("fd09::1", "fe80::2"), Trouble::LinkLocal),
        (long, Trouble::TooLong),
    ];
    let notices: Vec<_> = cases.iter().map(|(notice, _)| notice.clone()).collect();
    let (report, events) = run(&notices, free_port(), Duration::from_millis(500));
    assert_eq!(events, 1, "192.0.2.1 is absent");
    let failed: HashMap<_, _> = report.failed.into_iter().collect();
    assert_eq!(failed, HashMap::from(cases));
}

#[test]
fn nobody_to_tell() {
    let began = Instant::now();
    let (report, _) = run(&[], 111, Duration::from_secs(5));
    assert!(report.confirmed.is_empty() && report.failed.is_empty());
    assert!(began.elapsed() < Duration::from_secs(1));
}
