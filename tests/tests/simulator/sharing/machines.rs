//! The machines of a world of several owners: their slots, what runs in them, and whether they are heard.

use std::{collections::BTreeMap, mem};

use engine::{Heartbeat, HeldAttempt, Hello, SessionId, SlotDescription};
use terms::{AttemptKey, Progress, WorkerName, manifest::builtins_described};
use tests::Random;

/// What a machine was told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    /// To run an attempt in a slot.
    Run(AttemptKey, u32),
    /// To end one.
    End(AttemptKey),
}

/// One machine with its worker.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: WorkerName,
    pub(super) slots: Vec<SlotDescription>,
    /// Its stream while there is one.
    pub(super) stream: Option<SessionId>,
    /// It is stopped: it hears and says nothing, and what runs there stays.
    pub(super) is_frozen: bool,
    /// What came on the stream meanwhile.
    pub(super) mail: Vec<Told>,
    /// What runs in which slot, and when it began.
    pub(super) running: BTreeMap<AttemptKey, (u32, u64)>,
}

impl Machine {
    /// One with slots of a processor, or with one or two slots on each of two or three GPUs.
    pub(super) fn new(number: u64, random: &mut Random) -> Self {
        let pack_size_max = 1 + random.below(4) as u32;
        let (gpus, per_gpu) = (2 + random.below(2) as u32, 1 + random.below(2) as u32);
        let (count, has_gpus) = match random.one_in(2) {
            true => (gpus * per_gpu, true),
            false => (1 + random.below(4) as u32, false),
        };
        let device = |index: u32| if has_gpus { format!("cuda:{}", index % gpus) } else { "cpu".to_owned() };
        let slot = |index| SlotDescription {
            index,
            device: device(index),
            description: String::new(),
            pack_size_max,
        };
        Self {
            name: format!("w{number}").parse().unwrap(),
            slots: (0..count).map(slot).collect(),
            stream: None,
            is_frozen: false,
            mail: Vec::new(),
            running: BTreeMap::new(),
        }
    }

    /// Whether it is heard.
    pub(super) fn is_live(&self) -> bool {
        self.stream.is_some() && !self.is_frozen
    }

    /// Its stream has ended, and with it what it had not heard.
    pub(super) fn is_cut_off(&mut self) {
        self.stream = None;
        self.mail.clear();
    }

    /// It goes on; what came meanwhile.
    pub(super) fn thaw(&mut self) -> Vec<Told> {
        self.is_frozen = false;
        mem::take(&mut self.mail)
    }

    pub(super) fn hello(&self) -> Hello {
        let held = |(attempt, (slot, _)): (&AttemptKey, &(u32, u64))| HeldAttempt {
            attempt: *attempt,
            slot: Some(*slot),
        };
        Hello {
            name: self.name.clone(),
            instance: "one".to_owned(),
            predecessors: Vec::new(),
            host: String::new(),
            software_version: String::new(),
            slots: self.slots.clone(),
            held: self.running.iter().map(held).collect(),
            draining: false,
            runs_programs: true,
            spans_slots: true,
            pauses: true,
            checkpoints: String::new(),
            memory_bytes: 0,
            models: builtins_described().to_vec(),
        }
    }

    pub(super) fn heartbeat(&self) -> Vec<Heartbeat> {
        self.running.keys().map(|attempt| Heartbeat { attempt: *attempt, progress: Progress::NONE }).collect()
    }
}
