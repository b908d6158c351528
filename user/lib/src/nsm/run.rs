// SPDX-License-Identifier: GPL-2.0
//! Tells all clients at once.

use super::connection::{Connection, Failure};
use super::message::{self, Transport, MAX_NAME};
use super::peer::{Next, Peer, Settings, Xids};
use super::server::Server;
use super::{Confirmed, Event, Notice, Refusal, Report, Trouble};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many TCP connections there are at a time.
pub const MAX_CONNECTIONS: usize = 256;
/// How long one of them may take for one call.
const CONNECTION_LIMIT: Duration = Duration::from_secs(3);
/// So many packets are sent before answers are looked at, so that these find room in the socket.
const BURST: usize = 64;
/// How often to look whether a server address has come.
const LOOK: Duration = Duration::from_millis(20);
/// The longest answer that is understood.
const LONGEST: usize = 2048;

/// Tells every client on a list, until all have confirmed it or `deadline` has come. `state` is the server's
/// state number: another one each time, and odd, as that of a server that is up.
///
/// Each client is asked for the port of its status monitor, then gets the notice; what is not answered is
/// repeated after 1, 2, 4 seconds and so on. Clients of a server address that is not on this node wait until
/// it is: a client that reclaims earlier finds nobody. A notice that is twice on the list is sent once.
///
/// Each client that has confirmed is an [`Event`]. Forget it at once: a client that is told once more when no
/// grace period is left loses its locks.
pub fn notify(
    notices: &[Notice],
    state: i32,
    deadline: Instant,
    on: &mut impl FnMut(Event),
) -> Report {
    Run::new(notices, state, deadline, Settings::default()).all(on)
}

/// A client that is told.
struct Client {
    notice: Notice,
    server: usize,
    peer: Peer,
    done: bool,
}

/// A call over TCP.
struct Call {
    client: usize,
    connection: Connection,
    tells: bool,
    until: Instant,
}

/// Clients are known by their number in `clients`, servers by that in `servers`.
pub(super) struct Run {
    state: i32,
    began: Instant,
    deadline: Instant,
    clients: Vec<Client>,
    servers: Vec<Server>,
    /// Whose call has a number.
    xids: HashMap<u32, usize>,
    random: RandomState,
    /// When somebody's time is over. What is here may be out of date: a peer knows its own.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Who is sent something now.
    ready: VecDeque<usize>,
    /// Who waits for a TCP connection, and the port that it is to: rpcbind's if it is 0.
    turns: VecDeque<(usize, u16)>,
    calls: Vec<Call>,
    /// How many connections there have been.
    connections: usize,
    /// How many clients are not done.
    left: usize,
    report: Report,
}

impl Run {
    pub fn new(notices: &[Notice], state: i32, deadline: Instant, settings: Settings) -> Self {
        let now = Instant::now();
        let random = RandomState::new();
        let mut run = Self {
            state,
            began: now,
            deadline,
            clients: Vec::new(),
            servers: Vec::new(),
            xids: HashMap::new(),
            // A run that comes soon after another one had better not begin with the same port.
            connections: random.hash_one(0) as usize,
            random,
            due: BinaryHeap::new(),
            ready: VecDeque::new(),
            turns: VecDeque::new(),
            calls: Vec::new(),
            left: 0,
            report: Report::default(),
        };
        let mut seen = HashSet::new();
        let mut servers = HashMap::new();
        for notice in notices.iter().filter(|notice| seen.insert(*notice)) {
            if let Some(trouble) = hopeless(notice) {
                run.report.failed.push((notice.clone(), trouble));
                continue;
            }
            let client = run.clients.len();
            let server = *servers.entry(notice.server).or_insert_with(|| {
                run.servers.push(Server::new(notice.server));
                run.servers.len() - 1
            });
            run.servers[server].clients.push(client);
            let xids = Xids {
                ask: run.xid(client),
                ask_tcp: run.xid(client),
                tell: run.xid(client),
            };
            let peer = Peer::new(notice.client, xids, settings, now);
            run.clients.push(Client {
                notice: notice.clone(),
                server,
                peer,
                done: false,
            });
        }
        run.left = run.clients.len();
        run
    }

    /// A number for a call that nobody can guess, so that nobody else can answer for a client.
    fn xid(&mut self, client: usize) -> u32 {
        let mut xid = self.random.hash_one(self.xids.len()) as u32;
        while self.xids.contains_key(&xid) {
            xid = xid.wrapping_add(1);
        }
        self.xids.insert(xid, client);
        xid
    }

    pub fn all(mut self, on: &mut impl FnMut(Event)) -> Report {
        while self.left > 0 && Instant::now() < self.deadline {
            self.look(on);
            self.send();
            self.connect();
            self.receive(on);
        }
        for server in &mut self.servers {
            server.absent = !server.is_open() || !server.is_here();
        }
        for client in self.clients.into_iter().filter(|client| !client.done) {
            let absent = self.servers[client.server].absent;
            let trouble = if absent {
                Trouble::NotHere
            } else {
                client.peer.trouble
            };
            self.report.failed.push((client.notice, trouble));
        }
        self.report
    }

    /// Begins with the clients of the server addresses that have come.
    fn look(&mut self, on: &mut impl FnMut(Event)) {
        for server in self.servers.iter_mut().filter(|server| !server.is_open()) {
            if server.is_here() && server.open().is_ok() {
                if server.absent {
                    on(Event::Here(server.address));
                }
                self.ready.extend(&server.clients);
            } else if !server.absent {
                server.absent = true;
                on(Event::Absent(server.address));
            }
        }
    }

    /// Sends packets: no more than a burst, whose answers find room in the socket.
    fn send(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, number))) = self.due.peek().filter(|due| due.0 .0 <= now) {
            self.due.pop();
            let client = &mut self.clients[number];
            if client.done || client.peer.due != at {
                continue;
            }
            if let Next::Connect(port) = client.peer.overdue() {
                client.peer.connecting = true;
                self.turns.push_back((number, port));
            }
            self.ready.push_back(number);
        }
        for _ in 0..BURST {
            let Some(number) = self.ready.pop_front() else {
                break;
            };
            let client = &mut self.clients[number];
            if client.done {
                continue;
            }
            if let Some((packet, to)) = client.peer.packet(&client.notice.about, self.state, now) {
                if let Err(e) = self.servers[client.server].send(&packet, to) {
                    client.peer.give_up(errno(&e));
                }
            }
            self.due.push(Reverse((client.peer.due, number)));
        }
    }

    /// Begins calls over TCP, if there are not too many.
    fn connect(&mut self) {
        while self.calls.len() < MAX_CONNECTIONS {
            let Some((client, port)) = self.turns.pop_front() else {
                break;
            };
            self.call(client, port);
        }
    }

    /// Begins one: to rpcbind if the port is 0.
    fn call(&mut self, number: usize, port: u16) {
        let client = &mut self.clients[number];
        if client.done {
            return;
        }
        let peer = &mut client.peer;
        let tells = port != 0;
        let (to, xid, call) = if tells {
            let xid = peer.xids.tell;
            (
                peer.at(port),
                xid,
                message::tell(xid, &client.notice.about, self.state),
            )
        } else {
            let xid = peer.xids.ask_tcp;
            (
                peer.rpcbind_at(),
                xid,
                message::ask(xid, peer.rpcbind(), Transport::Tcp),
            )
        };
        self.connections = self.connections.wrapping_add(1);
        let server = &self.servers[client.server];
        match Connection::begin(server, to, self.connections, xid, &call) {
            Ok(connection) => {
                let until = Instant::now() + CONNECTION_LIMIT;
                self.calls.push(Call {
                    client: number,
                    connection,
                    tells,
                    until,
                });
            }
            Err(e) => peer.unconnected(Some(errno(&e))),
        }
    }

    /// Waits until something comes or somebody's time is over, and takes what has come.
    fn receive(&mut self, on: &mut impl FnMut(Event)) {
        let now = Instant::now();
        let sockets = self.servers.iter().flat_map(Server::sockets);
        let mut fds: Vec<_> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        let datagrams = fds.len();
        let calls = self.calls.iter().map(|call| &call.connection);
        fds.extend(calls.map(|call| PollFd::new(&call.stream, call.interest())));
        let wait = self.until(now).saturating_duration_since(now);
        let Ok(_) = poll(&mut fds, Timespec::try_from(wait).ok().as_ref()) else {
            return;
        }; // a signal
        let came: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if came[..datagrams].contains(&true) {
            self.datagrams(on);
        }
        self.advance(&came[datagrams..], on);
    }

    /// When there is something to do, if nothing comes.
    fn until(&self, now: Instant) -> Instant {
        if !self.ready.is_empty() {
            return now;
        }
        let mut until = self
            .due
            .peek()
            .map_or(self.deadline, |due| self.deadline.min(due.0 .0));
        if let Some(first) = self.calls.iter().map(|call| call.until).min() {
            until = until.min(first);
        }
        if !self.servers.iter().all(Server::is_open) {
            until = until.min(now + LOOK);
        }
        until
    }

    /// Takes what has come by UDP.
    fn datagrams(&mut self, on: &mut impl FnMut(Event)) {
        let mut buffer = [0; LONGEST];
        let mut answers = Vec::new();
        for socket in self.servers.iter().flat_map(Server::sockets) {
            // Not without end, as strangers may send, too.
            for _ in 0..4 * BURST {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    break;
                };
                answers.push((from, buffer[..length].to_vec()));
            }
        }
        for (from, answer) in answers {
            let Some((xid, results)) = message::answer(&answer) else {
                continue;
            };
            let Some(&number) = self.xids.get(&xid) else {
                continue;
            };
            let client = &mut self.clients[number];
            if client.done {
                continue;
            }
            match client.peer.answer(from, xid, results) {
                Next::Confirmed => self.confirmed(number, Transport::Udp, on),
                Next::Send => self.ready.push_back(number),
                Next::Connect(port) if !client.peer.connecting => {
                    client.peer.connecting = true;
                    // Before those of whom nothing was heard.
                    self.turns.push_front((number, port));
                }
                Next::Connect(_) | Next::Wait => {}
            }
        }
    }

    /// Goes on with the calls over TCP for which something came, and ends those that take too long.
    fn advance(&mut self, came: &[bool], on: &mut impl FnMut(Event)) {
        let now = Instant::now();
        let (mut going, mut next) = (Vec::new(), Vec::new());
        for (mut call, &came) in std::mem::take(&mut self.calls).into_iter().zip(came) {
            let client = &mut self.clients[call.client];
            if client.done {
                continue;
            }
            let peer = &mut client.peer;
            match if came {
                call.connection.advance()
            } else {
                Ok(None)
            } {
                Ok(None) if call.until > now => going.push(call),
                Ok(None) => peer.unconnected(None),
                Ok(Some(_)) if call.tells => self.confirmed(call.client, Transport::Tcp, on),
                Ok(Some(results)) => match message::port(&results, peer.rpcbind()) {
                    Some(0) => peer.unconnected(Some(Trouble::NoStatd)),
                    Some(port) => next.push((call.client, port)),
                    None => peer.unconnected(Some(Trouble::Nonsense)),
                },
                Err(Failure::Refused(Refusal::NoVersion)) if !call.tells && peer.older() => {
                    next.push((call.client, 0));
                }
                Err(failure) => peer.unconnected(Some(match failure {
                    Failure::NotThere if call.tells => Trouble::NoStatd,
                    Failure::NotThere => Trouble::NoRpcbind,
                    Failure::Closed => Trouble::Closed,
                    Failure::Refused(refusal) => Trouble::Refused(refusal),
                    Failure::Nonsense => Trouble::Nonsense,
                    Failure::Errno(number) => Trouble::Errno(number),
                })),
            }
        }
        self.calls = going;
        for (client, port) in next {
            self.call(client, port);
        }
    }

    fn confirmed(&mut self, number: usize, transport: Transport, on: &mut impl FnMut(Event)) {
        let client = &mut self.clients[number];
        client.done = true;
        self.left -= 1;
        let notice = client.notice.clone();
        let confirmed = Confirmed {
            notice,
            after: self.began.elapsed(),
            transport,
        };
        on(Event::Confirmed(&confirmed));
        self.report.confirmed.push(confirmed);
    }
}

/// Why a client cannot be told at all.
fn hopeless(notice: &Notice) -> Option<Trouble> {
    let (client, server) = (&notice.client, &notice.server);
    let either = |is: fn(&IpAddr) -> bool| is(client) || is(server);
    if notice.about.len() > MAX_NAME {
        Some(Trouble::TooLong)
    } else if either(|address| address.is_multicast() || address.is_unspecified()) {
        Some(Trouble::NotOneHost)
    } else if client.is_ipv4() != server.is_ipv4() {
        Some(Trouble::OtherFamily)
    } else if either(|address| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())) {
        Some(Trouble::LinkLocal)
    } else {
        None
    }
}

/// What a system call has against a client.
fn errno(error: &io::Error) -> Trouble {
    error
        .raw_os_error()
        .map_or(Trouble::Nonsense, Trouble::Errno)
}
