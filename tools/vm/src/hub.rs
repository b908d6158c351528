// SPDX-License-Identifier: GPL-2.0
//! The virtual network of a scenario: an Ethernet hub over datagram sockets, inside the harness.

use nix::sys::socket::{send, MsgFlags};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::thread;

/// Every frame one VM sends goes to all others, and nowhere else.
#[derive(Clone, Default)]
pub struct Hub {
    ports: Arc<Mutex<Vec<(usize, UnixDatagram)>>>,
}

impl Hub {
    /// Plugs VM `id` in; returns the socket that its QEMU gets.
    pub fn plug(&self, id: usize) -> io::Result<UnixDatagram> {
        let (ours, qemu) = UnixDatagram::pair()?;
        let reader = ours.try_clone()?;
        self.unplug(id);
        self.ports.lock().unwrap().push((id, ours));
        let hub = self.clone();
        thread::spawn(move || hub.forward(id, &reader));
        Ok(qemu)
    }

    /// Unplugs VM `id`, and so ends the thread that serves it.
    pub fn unplug(&self, id: usize) {
        self.ports.lock().unwrap().retain(|(port, socket)| {
            if *port == id {
                let _ = socket.shutdown(Shutdown::Both);
            }
            *port != id
        });
    }

    fn forward(&self, from: usize, socket: &UnixDatagram) {
        let mut frame = vec![0; 1 << 16];
        loop {
            match socket.recv(&mut frame) {
                Ok(len) if len > 0 => {
                    for (_, port) in self
                        .ports
                        .lock()
                        .unwrap()
                        .iter()
                        .filter(|(id, _)| *id != from)
                    {
                        // A VM that does not read loses frames, as on a real wire.
                        let _ = send(port.as_raw_fd(), &frame[..len], MsgFlags::MSG_DONTWAIT);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
}
