// SPDX-License-Identifier: GPL-2.0
//! The library's `net`, step by step, as its tests in virtual machines need it.
//!
//! ```text
//! net place|add SPEC             where an address is to be; adds it there
//! net find|delete ADDRESS        where it is; deletes it there
//! net again ADDRESS              deletes it and puts it back
//! net leave SPEC,...             deletes them, forgets their connections
//! net wait ADDRESS MILLISECONDS  until it is usable
//! net announce ADDRESS ROUNDS
//! net list|destroy ADDRESS,... [PORT...]
//! net tickle ADDRESS,... ROUNDS  the connections on standard input
//! ```

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use nfsd_ha::net::announce::Announcer;
use nfsd_ha::net::leave::leave;
use nfsd_ha::net::sockets::{self, Ports};
use nfsd_ha::net::tickle::Tickler;
use nfsd_ha::net::{address, announce, connections, place};

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    if let Err(error) = run(&words) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    match *words {
        ["place", spec] => println!("{}", place::place(&spec.parse()?, &address::all()?)?),
        ["add", spec] => {
            let placed = place::place(&spec.parse()?, &address::all()?)?;
            println!("{placed} {}", address::add(&placed)?);
        }
        ["find", given] => {
            for placed in address::find(given.parse()?)? {
                println!("{placed:?}");
            }
        }
        ["leave", given] => {
            let present = address::all()?;
            let mut placed = Vec::new();
            for spec in given.split(',') {
                placed.push(place::place(&spec.parse()?, &present)?);
            }
            println!("{}", leave(&placed)?);
        }
        ["delete", given] => {
            for placed in address::find(given.parse()?)? {
                println!("{placed} {}", address::delete(&placed)?);
            }
        }
        ["again", given] => {
            for placed in address::find(given.parse()?)? {
                address::delete(&placed)?;
                address::add(&placed)?;
            }
        }
        ["wait", given, most] => {
            address::wait_usable(given.parse()?, Duration::from_millis(most.parse()?))?
        }
        ["announce", given, rounds] => {
            for placed in address::find(given.parse()?)? {
                let announcer = Announcer::new(&placed)?;
                for round in 0..rounds.parse()? {
                    sleep(announce::INTERVAL * u32::from(round > 0));
                    announcer.send()?;
                }
            }
        }
        ["list", given, ref ports @ ..] => {
            let ports = numbers(ports)?;
            let listed = sockets::established(&addresses(given)?, which(&ports))?;
            connections::write(io::stdout(), &listed)?;
        }
        ["destroy", given, ref ports @ ..] => {
            let ports = numbers(ports)?;
            println!("{}", sockets::destroy(&addresses(given)?, which(&ports))?);
        }
        ["tickle", given, rounds] => {
            let connections = connections::read(io::stdin())?;
            let tickler = Tickler::new(&addresses(given)?)?;
            for round in 0..rounds.parse()? {
                sleep(announce::INTERVAL * u32::from(round > 0));
                println!("{:?}", tickler.send(&connections, round));
            }
        }
        _ => return Err("see the head of the source".into()),
    }
    Ok(())
}

fn addresses(given: &str) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    Ok(given.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

fn numbers(ports: &[&str]) -> Result<Vec<u16>, Box<dyn Error>> {
    Ok(ports
        .iter()
        .map(|port| port.parse())
        .collect::<Result<_, _>>()?)
}

fn which(ports: &[u16]) -> Ports<'_> {
    match ports {
        [] => Ports::Any,
        _ => Ports::Of(ports),
    }
}
