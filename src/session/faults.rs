//! A whole download with a fault at each of its operations on the disk, one after the other.
//!
//! What is run is what a session runs, without its threads: a torrent is looked at, its pieces are verified and
//! written, some of them spilled before, its state is saved now and then, it ends in order half way and begins
//! again. The disk is [`Faulty`]. After the fault the machine loses its power, begins again with what
//! survived, and completes; then it loses its power once more. What has to hold is in [`Ledger`].
//!
//! `cargo test` tries some points of each kind; `DOWNPOUR_FAULTS=N` tries all of them, those that leave
//! something to chance with N seeds. `-- --nocapture` shows the table.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use super::{
    adding::Check,
    id::TorrentId,
    persist::{self, Kept, Record, Save},
    present::{self, Present, Terms},
};
use crate::{
    base::{
        bitfield::Bitfield,
        file_stamp::FileStamp,
        index::{Block, FileIndex, PartialPiece, PieceIndex},
        rng::Rng,
    },
    disk::{
        Effort, FilePool, FileSystem, Storage, Watch,
        faulty::{Fault, Faulty, Survives},
        perform_batch,
        sample::{Sample, sample},
    },
    pieces::job::{DiskEvent, DiskJob, Verdict},
};

const ROOT: &str = "/data/output";
const STATE: &str = "/home/state";
/// Fewer than there are files, so that they are opened again and again.
const OPEN_FILES: usize = 2;
/// A save follows after so many pieces.
const PIECES_PER_SAVE: u32 = 2;
/// More failures than a single fault and what it leads to can cause.
const PATIENCE: u32 = 40;
/// Points tried of each kind when nobody asks for more.
const POINTS: u64 = 40;

/// What is left when the power has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Everything,
    Nothing,
    /// Any part, and so many seeds are worth trying.
    Chance,
}

/// A kind of fault.
struct Kind {
    name: &'static str,
    fault: Fault,
    left: Left,
    /// Whether what was recorded may be lost: the disk said that it was durable, and it was not.
    is_lied_to: bool,
    /// Whether the machine fails a second time, while it looks at what the first time left.
    twice: bool,
}

const fn kind(name: &'static str, fault: Fault, left: Left) -> Kind {
    Kind { name, fault, left, is_lied_to: false, twice: false }
}

const KINDS: [Kind; 13] = [
    kind("power cut, all unsynced is lost", Fault::End, Left::Nothing),
    kind("power cut, any part survives", Fault::End, Left::Chance),
    Kind { twice: true, ..kind("power cut, and another", Fault::End, Left::Chance) },
    kind("killed", Fault::End, Left::Everything),
    kind("operation fails (EIO)", Fault::Error, Left::Nothing),
    kind("operation fails, any part survives", Fault::Error, Left::Chance),
    kind("no room once (ENOSPC)", Fault::Full, Left::Nothing),
    kind("half of it, then EIO", Fault::Torn, Left::Chance),
    kind("half of it", Fault::Short, Left::Nothing),
    kind("ten minutes of delay", Fault::Delay, Left::Chance),
    kind("disk is full from here on", Fault::Fill, Left::Chance),
    Kind { is_lied_to: true, ..kind("all syncs lie from here on", Fault::Lie, Left::Nothing) },
    Kind { is_lied_to: true, ..kind("syncs of payload lie", Fault::LieOfSome, Left::Nothing) },
];

/// What became of all points of a kind.
#[derive(Debug, Default)]
struct Tally {
    points: u64,
    hashed_again: u64,
    lied_away: u64,
    lost: u64,
    wrong: u64,
    needless: u64,
}

/// What was promised, and what became of it.
struct Ledger {
    /// Pieces that some save has recorded, with all of their files certain.
    recorded: Bitfield,
    /// Those of them that the state on disk vouches for now.
    vouched: Bitfield,
    hashed_again: u64,
    /// Pieces that were recorded and are not there.
    lost: u64,
    /// Pieces that are claimed and are not right.
    wrong: u64,
    /// Pieces that were hashed although nothing put them in doubt.
    needless: u64,
    complaints: Vec<String>,
}

/// A machine with a download.
struct Machine {
    sample: Sample,
    unwanted: Option<Box<[bool]>>,
    disk: Arc<Faulty>,
    ledger: Ledger,
    rng: Rng,
    /// Whether everything may be fetched anew when the output folder is gone.
    force: bool,
}

/// Why a run of the program is over.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// It did what it was to do, and saved it.
    Orderly,
    /// The program or the machine has ended.
    Ended,
}

fn content() -> Sample {
    let files = [("a", 50_000), ("d/b", 100_000), ("d/e/c", 70_001), ("e", 0), ("d/f", 3)];
    sample(24_576, &files)
}

impl Machine {
    fn new(partly: bool, seed: u64) -> Self {
        let sample = content();
        let pieces = sample.info.geometry().pieces();
        let unwanted = partly.then(|| [false, true, false, false, false].into());
        let nothing = || Bitfield::empty(pieces);
        let ledger = Ledger {
            recorded: nothing(),
            vouched: nothing(),
            hashed_again: 0,
            lost: 0,
            wrong: 0,
            needless: 0,
            complaints: Vec::new(),
        };
        Machine { sample, unwanted, disk: Faulty::new(), ledger, rng: Rng::new(seed), force: false }
    }

    fn storage(&self) -> Storage {
        let file_system: Arc<dyn FileSystem> = self.disk.clone();
        let pool = FilePool::on(file_system, OPEN_FILES);
        let info = self.sample.info.clone();
        match self.unwanted.clone() {
            None => Storage::on_disk(info, ROOT, &pool),
            Some(unwanted) => Storage::without(info, ROOT, &pool, unwanted),
        }
    }

    /// The pieces that are to be fetched.
    fn wanted(&self) -> Vec<PieceIndex> {
        let geometry = self.sample.info.geometry();
        let is_wanted = |piece: &PieceIndex| {
            let mut files = self.files(*piece).into_iter();
            files.any(|file| self.unwanted.as_ref().is_none_or(|unwanted| !unwanted[file.at()]))
        };
        geometry.indices().filter(is_wanted).collect()
    }

    fn files(&self, piece: PieceIndex) -> Vec<FileIndex> {
        let geometry = self.sample.info.geometry();
        let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
        self.sample.info.layout().spans(offset, length.into()).map(|span| span.file).collect()
    }

    /// One run of the program, until it has so many of the wanted pieces.
    fn run(&mut self, upto: usize) -> Over {
        let mut storage = Arc::new(self.storage());
        let mut failures = 0;
        let Present { mut have, partial, recorded, .. } = loop {
            match self.look(&storage) {
                Ok(present) => break present,
                Err(_) if self.disk.has_ended() => return Over::Ended,
                Err(obstacle) => self.fail(&mut failures, &obstacle),
            }
            // Whoever tries again adds it anew.
            storage = Arc::new(self.storage());
        };
        let Kept { record, mut settled, is_true, .. } = recorded.expect("state is kept");
        self.compare(&have);
        let mut missing: Vec<_> = self.wanted().into_iter().filter(|p| !have.has(*p)).collect();
        if !is_true || !missing.is_empty() {
            match self.save(&storage, &record, &have, &[], false) {
                Some(Over::Ended) => return Over::Ended,
                saved => settled &= saved.is_none(),
            }
        }
        let mut partial = partial;
        self.rng.shuffle(&mut missing);
        let left = self.wanted().len() - upto;
        let mut since = 0;
        while missing.len() > left {
            let piece = missing.pop().expect("more than are to be left");
            if settled {
                // The state says that nothing is written, and could not be replaced.
                self.ledger.vouched = Bitfield::empty(have.len());
            }
            let known = partial.iter().position(|partial| partial.piece == piece);
            let known = known.map(|at| partial.swap_remove(at));
            let begun = match known {
                Some(partial) => Ok(bits(&partial.blocks)),
                None if piece.0 % 3 == 0 => self.spill(&storage, piece),
                None => Ok(0),
            };
            since += 1;
            if begun.is_ok() && (settled || since % PIECES_PER_SAVE == 0) {
                let partial = begun.as_ref().ok().filter(|blocks| **blocks != 0);
                let partial = partial.map(|_| PartialPiece { piece, blocks: vec![0] });
                let partial: Vec<_> = partial.into_iter().collect();
                settled = false;
                if self.save(&storage, &record, &have, &partial, false) == Some(Over::Ended) {
                    return Over::Ended;
                }
            }
            let result = begun.and_then(|blocks| self.verify(&storage, piece, blocks));
            match result {
                Ok(true) => {
                    have.insert(piece);
                }
                Ok(false) => missing.push(piece),
                Err(_) if self.disk.has_ended() => return Over::Ended,
                Err(fault) => {
                    self.fail(&mut failures, &fault);
                    missing.insert(0, piece);
                }
            }
        }
        if missing.is_empty() && self.unwanted.is_none() {
            storage.tidy();
        }
        // The last one before it ends, and again if that failed.
        loop {
            match self.save(&storage, &record, &have, &[], true) {
                Some(over) => return over,
                None => self.fail(&mut failures, "the last save"),
            }
        }
    }

    /// Something failed: whoever looks after the machine makes room, and it goes on.
    fn fail(&mut self, failures: &mut u32, what: &str) {
        *failures += 1;
        assert!(*failures < PATIENCE, "it goes on failing: {what}");
        self.disk.make_room();
    }

    /// What a session does when it starts and a torrent is added.
    fn look(&mut self, storage: &Storage) -> Result<Present, String> {
        let state_dir = Path::new(STATE);
        let file_system: Arc<dyn FileSystem> = self.disk.clone();
        let made = persist::make_folder(&*file_system, state_dir);
        made.map_err(|error| error.to_string())?;
        let watch = Watch { progress: &|_| {}, cancel: &AtomicBool::new(false) };
        let terms = Terms {
            check: Check::Doubtful,
            fetch: true,
            force: self.force,
            partly: self.unwanted.is_some(),
            root: Path::new(ROOT),
            state_dir: Some(state_dir),
        };
        self.take_reads();
        let effort = Effort::with_threads(NonZeroUsize::MIN);
        let present = present::look(storage, &file_system, terms, effort, watch);
        let present = present.map_err(|obstacle| format!("{obstacle:?}"))?;
        if present.trouble.is_some() {
            // The state could not be read: everything is in doubt.
            self.ledger.vouched = Bitfield::empty(present.have.len());
        }
        for piece in self.take_reads() {
            self.ledger.hashed_again += 1;
            if self.ledger.vouched.has(piece) {
                self.ledger.needless += 1;
            }
        }
        Ok(present)
    }

    /// The pieces that were read since this was asked last.
    fn take_reads(&self) -> Vec<PieceIndex> {
        let info = &self.sample.info;
        let mut read = Bitfield::empty(info.geometry().pieces());
        for file in info.layout().files() {
            let path = Path::new(ROOT).join(file.path.to_path_buf());
            for range in self.disk.take_reads(&path) {
                let length = u64::from(info.geometry().piece_length());
                let from = (file.offset + range.start) / length;
                let to = (file.offset + range.end).div_ceil(length);
                for piece in from..to {
                    read.insert(PieceIndex(piece as u32));
                }
            }
        }
        read.iter().collect()
    }

    /// Compares what is claimed with what is there and with what was promised.
    fn compare(&mut self, have: &Bitfield) {
        let storage = self.storage();
        let disk = self.disk.clone();
        for piece in self.sample.info.geometry().indices() {
            let length = self.sample.info.geometry().piece_len(piece);
            let mut bytes = vec![0; length as usize];
            let run = Block { piece, begin: 0, length };
            let read = disk.quietly(|| storage.read_run(run, &mut bytes));
            let is_right = read.is_ok() && bytes == self.sample.piece(piece);
            if have.has(piece) && !is_right {
                self.ledger.wrong += 1;
                self.ledger.complaints.push(format!("piece {piece} is claimed and not right"));
            }
            if self.ledger.recorded.has(piece) && !have.has(piece) {
                self.ledger.lost += 1;
                self.ledger.complaints.push(format!("piece {piece} was recorded and is lost"));
                self.ledger.recorded.remove(piece);
            }
        }
    }

    fn spill(&mut self, storage: &Arc<Storage>, piece: PieceIndex) -> Result<u64, String> {
        let held = self.sample.held(piece, 1).swap_remove(0);
        match storage.perform(DiskJob::Spill { piece, held }) {
            DiskEvent::Spilled { result: Ok(()), .. } => Ok(1),
            DiskEvent::Spilled { result: Err(fault), .. } => Err(fault.to_string()),
            other => panic!("not spilled: {other:?}"),
        }
    }

    /// Verifies `piece`, of which `blocks` are in the files. False if it is bad.
    fn verify(
        &mut self,
        storage: &Arc<Storage>,
        piece: PieceIndex,
        blocks: u64,
    ) -> Result<bool, String> {
        let slabs = self.sample.held(piece, !blocks);
        let job = DiskJob::Verify { piece, slabs, digests: false };
        match perform_batch(vec![(storage.clone(), job)]).swap_remove(0) {
            DiskEvent::Verified { verdict: Verdict::Good, .. } => Ok(true),
            DiskEvent::Verified { verdict: Verdict::Bad, .. } => Ok(false),
            DiskEvent::Verified { verdict: Verdict::Failed(fault), .. } => Err(fault.to_string()),
            other => panic!("not verified: {other:?}"),
        }
    }

    /// Saves. `None` if that failed and the program goes on.
    fn save(
        &mut self,
        storage: &Arc<Storage>,
        record: &Arc<Record>,
        have: &Bitfield,
        partial: &[PartialPiece],
        settled: bool,
    ) -> Option<Over> {
        let save = Save {
            torrent: TorrentId(0),
            record: record.clone(),
            storage: storage.clone(),
            have: have.clone(),
            partial: partial.to_vec(),
            peers: Vec::new(),
            settled,
            uploaded: 0,
            why: None,
        };
        let [(_, result)] = &persist::perform(vec![save], self.disk.time())[..] else {
            panic!("one save is answered once")
        };
        if self.disk.has_ended() {
            return Some(Over::Ended);
        }
        if result.is_err() {
            return None;
        }
        let state = self.disk.quietly(|| record.state()).expect("it was just saved");
        let certain = |file: FileIndex| {
            state.files[file.at()]
                .is_some_and(|stamp| stamp.length != FileStamp::doubtful(stamp.inode).length)
        };
        self.ledger.vouched = Bitfield::empty(have.len());
        for piece in have.iter() {
            if self.files(piece).into_iter().all(certain) {
                self.ledger.recorded.insert(piece);
                self.ledger.vouched.insert(piece);
            }
        }
        Some(Over::Orderly)
    }

    fn power_fails(&mut self, left: Left) {
        let mut survives = match left {
            Left::Everything => Survives::Everything,
            Left::Nothing => Survives::Nothing,
            Left::Chance => Survives::Some(self.rng.fork()),
        };
        self.disk.restart(&mut survives);
    }
}

fn bits(blocks: &[u32]) -> u64 {
    blocks.iter().fold(0, |bits, block| bits | 1 << block)
}

/// The whole story with one fault; `None` if there are fewer operations than `at`.
fn story(kind: &Kind, partly: bool, at: u64, seed: u64) -> Option<Ledger> {
    let mut machine = Machine::new(partly, seed);
    let all = machine.wanted().len();
    machine.disk.plan(kind.fault, at);
    if machine.run(all / 2) == Over::Orderly {
        machine.run(all);
    }
    if machine.disk.operations() < at {
        return None;
    }
    if kind.fault == Fault::Delay {
        // Whoever wrote so late cannot be told from somebody else: the whole file is looked at.
        machine.ledger.vouched = Bitfield::empty(machine.ledger.vouched.len());
    }
    machine.power_fails(kind.left);
    if kind.is_lied_to {
        machine.force = true;
        machine.ledger.vouched = Bitfield::empty(machine.ledger.vouched.len());
    }
    if kind.twice {
        let again = 1 + machine.rng.below(30);
        machine.disk.plan(Fault::End, again);
        machine.run(all);
        machine.power_fails(kind.left);
    }
    assert_eq!(machine.run(all), Over::Orderly, "it completes");
    machine.power_fails(Left::Nothing);
    let hashed = machine.ledger.hashed_again;
    machine.run(all);
    if !kind.is_lied_to && machine.ledger.hashed_again > hashed && kind.fault != Fault::Error {
        machine.ledger.complaints.push("a complete download was hashed again".into());
        machine.ledger.needless += 1;
    }
    Some(machine.ledger)
}

/// Tries points of `kind`: every `stride`th, with each of the seeds where something is left to chance.
fn try_points(kind: &Kind, stride: u64, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    let seeds = if kind.left == Left::Chance { seeds } else { 1 };
    for (partly, seed) in [false, true].into_iter().flat_map(|p| (0..seeds).map(move |s| (p, s))) {
        // Other points for each seed, when not all are tried.
        let first = 1 + (seed + u64::from(partly)) % stride;
        for at in (first..).step_by(stride as usize) {
            let Some(ledger) = story(kind, partly, at, seed) else { break };
            tally.points += 1;
            tally.hashed_again += ledger.hashed_again;
            tally.wrong += ledger.wrong;
            match kind.is_lied_to {
                true => tally.lied_away += ledger.lost,
                false => tally.lost += ledger.lost,
            }
            let is_kept = ledger.wrong == 0 && (kind.is_lied_to || ledger.lost == 0);
            let said = ledger.complaints.join(", ");
            if !is_kept || ledger.needless > 0 {
                println!("{}, operation {at}, seed {seed}, partly {partly}: {said}", kind.name);
            }
            tally.needless += ledger.needless;
        }
    }
    tally
}

#[test]
fn nothing_recorded_is_lost_at_any_fault_point() {
    let asked = std::env::var("DOWNPOUR_FAULTS").ok();
    let seeds = asked.map(|text| text.parse().expect("DOWNPOUR_FAULTS is a number of seeds"));
    let operations = {
        let mut machine = Machine::new(false, 0);
        let all = machine.wanted().len();
        machine.run(all / 2);
        machine.run(all);
        assert_eq!(machine.ledger.lost + machine.ledger.wrong + machine.ledger.hashed_again, 0);
        machine.disk.operations()
    };
    let stride = if seeds.is_some() { 1 } else { (operations / POINTS).max(1) };
    println!("a download of {operations} operations on the disk, a fault at every {stride}:");
    println!(
        "{:36} {:>7} {:>13} {:>10} {:>5} {:>6} {:>9}",
        "kind of fault", "points", "hashed again", "lied away", "lost", "wrong", "needless"
    );
    let mut all = Tally::default();
    for kind in &KINDS {
        let tally = try_points(kind, stride, seeds.unwrap_or(1));
        tally.print(kind.name);
        all.add(&tally);
    }
    all.print("all");
    assert_eq!((all.lost, all.wrong, all.needless), (0, 0, 0), "see the table");
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.points += other.points;
        self.hashed_again += other.hashed_again;
        self.lied_away += other.lied_away;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.needless += other.needless;
    }

    fn print(&self, name: &str) {
        let Tally { points, hashed_again, lied_away, lost, wrong, needless } = self;
        println!(
            "{name:36} {points:>7} {hashed_again:>13} {lied_away:>10} {lost:>5} {wrong:>6} {needless:>9}"
        );
    }
}
