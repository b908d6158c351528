// SPDX-License-Identifier: GPL-2.0
//! What the VMs of a scenario share through the harness: barriers and values.

use crate::vm::Vm;
use std::collections::BTreeMap;

/// What a VM waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wait {
    Barrier(String),
    Value(String),
}

/// Barriers and values of a scenario.
#[derive(Default)]
pub struct Board {
    values: BTreeMap<String, String>,
    waiting: BTreeMap<usize, (u32, Wait)>,
}

impl Board {
    /// Handles `barrier NAME`, `set KEY VALUE` and `wait KEY` from VM `id`; false if it is none of them.
    pub fn request(&mut self, id: usize, words: &[&str], vms: &mut [Vm]) -> bool {
        match words {
            ["barrier", name] => {
                let wait = Wait::Barrier((*name).into());
                self.waiting.insert(id, (vms[id].boot, wait.clone()));
                let here = |id: &usize| {
                    self.waiting
                        .get(id)
                        .is_some_and(|(boot, w)| *boot == vms[*id].boot && *w == wait)
                };
                if (0..vms.len())
                    .filter(|id| !vms[*id].ended())
                    .all(|id| here(&id))
                {
                    self.waiting.retain(|_, (_, w)| *w != wait);
                    vms.iter().for_each(|vm| vm.answer("go"));
                }
            }
            ["set", key, value @ ..] => {
                let value = value.join(" ");
                let wait = Wait::Value((*key).into());
                self.waiting.retain(|id, (boot, w)| {
                    let served = *boot == vms[*id].boot && *w == wait;
                    if served {
                        vms[*id].answer(&value);
                    }
                    !served
                });
                self.values.insert((*key).into(), value);
            }
            ["wait", key] => match self.values.get(*key) {
                Some(value) => vms[id].answer(value),
                None => {
                    self.waiting
                        .insert(id, (vms[id].boot, Wait::Value((*key).into())));
                }
            },
            _ => return false,
        }
        true
    }

    /// Says who waits for what, if every VM that still runs does.
    pub fn stuck(&self, vms: &[Vm]) -> Option<String> {
        let mut who = Vec::new();
        for (id, vm) in vms.iter().enumerate().filter(|(_, vm)| !vm.ended()) {
            match self.waiting.get(&id) {
                Some((boot, Wait::Barrier(name))) if *boot == vm.boot => {
                    who.push(format!("{} for barrier {name}", vm.spec.name));
                }
                Some((boot, Wait::Value(key))) if *boot == vm.boot => {
                    who.push(format!("{} for value {key}", vm.spec.name));
                }
                _ => return None,
            }
        }
        (!who.is_empty()).then(|| format!("nobody is left to go on: {} waits", who.join(", ")))
    }
}
