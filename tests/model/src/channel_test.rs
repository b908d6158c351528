// SPDX-License-Identifier: GPL-2.0

//! The channel, between callers and daemons.
//!
//! Where time stands still, who is not woken sleeps for ever: shuttle sees a deadlock.

use crate::base::params::{self, LIMIT};
use crate::book::Book;
use crate::daemon::{self, Habits};
use crate::explore::{below, explore, one_in};
use crate::nfs4::nfsd::NfsdNet;
use crate::tracking::channel::{Channel, UNKNOWN};
use crate::tracking::cld::Command;
use crate::tracking::pipe::{File, Pipe};
use kernel::prelude::*;
use kernel::time::Clock;
use shuttle::thread::{self, JoinHandle};
use std::sync::Arc;

/// A channel with its pipe and daemons.
struct Scene {
    nn: Arc<NfsdNet>,
    pipe: Arc<Pipe<Channel>>,
    book: Arc<Book>,
    daemons: Vec<JoinHandle<()>>,
}

impl Scene {
    /// With room for so many upcalls in flight.
    fn new(in_flight: usize, daemons: &[Habits]) -> Self {
        params::set_upcalls_in_flight(in_flight);
        let nn = NfsdNet::make();
        let pipe = Arc::pin_init(Pipe::new(Channel::new(|_| {})), GFP_KERNEL).unwrap();
        // SAFETY: As in the module.
        unsafe { pipe.publish(&nn.changing()) }.unwrap();
        let book = Arc::new(Book::default());
        let daemons = daemons
            .iter()
            .map(|&habits| daemon::spawn(&nn, &book, habits))
            .collect();
        Scene {
            nn,
            pipe,
            book,
            daemons,
        }
    }

    /// A thread that makes `calls` calls, one after the other.
    fn caller(
        &self,
        name: &'static str,
        command: Command,
        calls: u32,
        patience: u32,
    ) -> JoinHandle<Result> {
        let (pipe, book) = (self.pipe.clone(), self.book.clone());
        thread::spawn(move || {
            (0..calls)
                .map(|n| book.call(&pipe, command, &format!("{name}{n}"), patience))
                .fold(Ok(()), |all, result| all.and(result))
        })
    }

    /// The server stops: [`Channel::close`], then the pipe goes.
    fn closer(&self) -> JoinHandle<()> {
        let (pipe, nn) = (self.pipe.clone(), self.nn.clone());
        thread::spawn(move || close(&pipe, &nn))
    }

    /// When nobody calls any more.
    fn end(self) {
        self.book.end();
        if let Some(inode) = self.nn.cld() {
            File::wake(&inode);
        }
        for daemon in self.daemons {
            daemon.join().unwrap();
        }
        self.book.check(&self.pipe);
        close(&self.pipe, &self.nn);
    }
}

fn close(pipe: &Pipe<Channel>, nn: &NfsdNet) {
    drop(Channel::close(pipe));
    // SAFETY: As in the module.
    unsafe { pipe.unpublish(&nn.changing()) };
}

fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

/// Did the daemon answer, with whatever?
fn answered(result: &Result) -> bool {
    !matches!(result, Err(ETIMEDOUT | EPIPE | UNKNOWN))
}

#[test]
fn each_call_is_answered_by_daemons_that_die_and_lie() {
    explore(0, || {
        let habits = Habits {
            deaths: 2,
            wrong: 2,
            ..Habits::default()
        };
        let scene = Scene::new(2, &[habits, habits]);
        let callers =
            ["a", "b", "c", "d"].map(|name| scene.caller(name, Command::Create, 2, LIMIT));
        assert!(join(callers).iter().all(answered));
        scene.end();
    });
}

#[test]
fn who_waits_in_line_gets_a_turn_when_others_time_out() {
    explore(0, || {
        let habits = Habits {
            silent: 2,
            deaths: 1,
            ..Habits::default()
        };
        let scene = Scene::new(1, &[habits]);
        let clock = Clock::start(30);
        let callers = ["a", "b", "c"].map(|name| scene.caller(name, Command::Create, 2, LIMIT));
        join(callers);
        clock.stop();
        scene.end();
    });
}

#[test]
fn no_answer_is_taken_for_who_has_given_up() {
    explore(4, || {
        let habits = Habits {
            deaths: 2,
            wrong: 1,
            silent: 1,
        };
        let scene = Scene::new(2, &[habits, habits]);
        let clock = Clock::start(8);
        let callers = ["a", "b", "c"].map(|name| scene.caller(name, Command::Remove, 2, LIMIT));
        join(callers);
        clock.stop();
        scene.end();
    });
}

#[test]
fn who_calls_while_the_server_stops_is_told_so() {
    explore(0, || {
        let habits = Habits {
            deaths: 2,
            wrong: 1,
            silent: 1,
        };
        let scene = Scene::new(1 + below(2), &[habits, habits]);
        let callers = ["a", "b", "c"].map(|name| scene.caller(name, Command::Create, 2, LIMIT));
        let closer = scene.closer();
        join(callers);
        closer.join().unwrap();
        assert_eq!(
            scene.book.call(&scene.pipe, Command::Create, "late", LIMIT),
            Err(EPIPE)
        );
        scene.end();
    });
}

#[test]
fn a_grace_done_that_was_read_is_not_sent_again() {
    explore(0, || {
        let habits = Habits {
            deaths: 3,
            wrong: 1,
            ..Habits::default()
        };
        let scene = Scene::new(1 + below(2), &[habits, habits]);
        let clock = Clock::start(20);
        let callers = [
            scene.caller("done", Command::GraceDone, 3, LIMIT),
            scene.caller("a", Command::Create, 2, LIMIT),
            scene.caller("b", Command::Create, 2, LIMIT),
        ];
        join(callers);
        clock.stop();
        scene.end();
    });
}

#[test]
fn what_nobody_read_in_time_is_queued_again() {
    explore(0, || {
        let scene = Scene::new(2, &[]);
        let callers = ["a", "b", "c"].map(|name| scene.caller(name, Command::Create, 1, LIMIT));
        // sunrpc's time-out of what is unread, at any time.
        let pipe = scene.pipe.clone();
        let time_out = thread::spawn(move || (0..3).for_each(|_| pipe.time_out()));
        let habits = Habits {
            deaths: 2,
            ..Habits::default()
        };
        let late = daemon::spawn(&scene.nn, &scene.book, habits);
        assert!(join(callers).iter().all(answered));
        time_out.join().unwrap();
        scene.book.end();
        if let Some(inode) = scene.nn.cld() {
            File::wake(&inode);
        }
        late.join().unwrap();
        scene.end();
    });
}

#[test]
fn time_outs_and_the_end_meet() {
    explore(4, || {
        let habits = Habits {
            deaths: 1,
            silent: 2,
            ..Habits::default()
        };
        let scene = Scene::new(1, &[habits]);
        let clock = Clock::start(10);
        let callers = ["a", "b", "c"].map(|name| scene.caller(name, Command::Create, 2, LIMIT));
        let pipe = scene.pipe.clone();
        let time_out = thread::spawn(move || pipe.time_out());
        let closer = one_in(2).then(|| scene.closer());
        join(callers);
        join(closer);
        time_out.join().unwrap();
        clock.stop();
        scene.end();
    });
}
