//! A disk that holds no bytes: the content of a block is a tag, checking a piece compares tags.
//!
//! It is strict where a real one could not be: a job that reads what was never verified, or verifies
//! a piece with a block missing, is a fault of the torrent machine and ends the run.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use crate::{
    base::{
        bitfield::Bitfield,
        geometry::Geometry,
        index::{Block, PieceIndex},
        rng::Rng,
        slab::{Chunk, Slab},
        time::Instant,
        units::BLOCK_LEN,
    },
    pieces::job::{DiskEvent, DiskFault, DiskJob, FaultKind, Held, Verdict},
};

/// What the torrent's content is: a function of the place.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    seed: u64,
    geometry: Geometry,
}

impl Content {
    /// The content that belongs to `seed`.
    pub const fn new(seed: u64, geometry: Geometry) -> Self {
        Content { seed, geometry }
    }

    /// Its lengths.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What stands at `begin` of `piece`.
    pub fn tag(&self, piece: u32, begin: u32) -> u64 {
        Rng::new(self.seed ^ (u64::from(piece) << 32) ^ u64::from(begin)).next_u64()
    }
}

/// How fast a disk is and when it fails.
#[derive(Debug, Clone)]
pub struct DiskPlan {
    /// Time each job takes, whatever its size.
    pub job_time: Duration,
    /// Bytes per second on top of that, reading or writing; `None` takes no time.
    pub rate: Option<u64>,
    /// Which jobs fail, counted from 0 over all jobs of the host, and how.
    pub faults: Vec<(Range<u64>, FaultKind)>,
    /// How long after a fault stopped the torrent its owner resumes it; `None`: never.
    pub resume_after: Option<Duration>,
}

impl Default for DiskPlan {
    fn default() -> Self {
        DiskPlan {
            job_time: Duration::from_micros(100),
            rate: None,
            faults: Vec::new(),
            resume_after: Some(Duration::from_secs(10)),
        }
    }
}

/// One host's disk: jobs are done one after another.
#[derive(Debug)]
pub(super) struct Disk {
    content: Content,
    plan: DiskPlan,
    /// Pieces verified and written here.
    have: Bitfield,
    /// Pieces that were here: reads of them that were ordered before may still come.
    lost: BTreeSet<PieceIndex>,
    /// Blocks of unfinished pieces written early.
    spilled: BTreeMap<PieceIndex, Vec<Option<u64>>>,
    free_at: Instant,
    done: u64,
    jobs: Vec<Option<DiskJob>>,
    vacant: Vec<u32>,
}

impl Disk {
    pub(super) fn new(content: Content, plan: DiskPlan, have: Bitfield) -> Self {
        Disk {
            content,
            plan,
            have,
            lost: BTreeSet::new(),
            spilled: BTreeMap::new(),
            free_at: Instant::ZERO,
            done: 0,
            jobs: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// Pieces verified here: what survives a restart.
    pub(super) const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// A piece is not there any more.
    pub(super) fn lose(&mut self, piece: PieceIndex) {
        self.have.remove(piece);
        self.lost.insert(piece);
    }

    /// How long after a fault the owner resumes.
    pub(super) const fn resume_after(&self) -> Option<Duration> {
        self.plan.resume_after
    }

    /// Jobs not done yet.
    pub(super) fn pending(&self) -> usize {
        self.jobs.len() - self.vacant.len()
    }

    /// Forgets jobs under way and unfinished pieces: the host stopped.
    pub(super) fn stop(&mut self) {
        // The slots stay taken until their events come.
        self.jobs.iter_mut().for_each(|j| *j = None);
        self.spilled.clear();
    }

    /// Accepts a job: its number and when it will be done.
    pub(super) fn start(&mut self, now: Instant, job: DiskJob) -> (u32, Instant) {
        let bytes = match &job {
            DiskJob::Verify { slabs, .. } => {
                slabs.iter().map(|h| u64::from(h.filled.count_ones()) * u64::from(BLOCK_LEN)).sum()
            }
            DiskJob::Spill { held, .. } => {
                u64::from(held.filled.count_ones()) * u64::from(BLOCK_LEN)
            }
            DiskJob::Read { run, .. } => u64::from(run.length),
        };
        let transfer = self.plan.rate.map_or(0, |rate| bytes * 1_000_000 / rate.max(1));
        self.free_at = self.free_at.max(now) + self.plan.job_time + Duration::from_micros(transfer);
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.jobs.push(None);
            self.jobs.len() as u32 - 1
        });
        self.jobs[slot as usize] = Some(job);
        (slot, self.free_at)
    }

    /// The job's time has come; `None` if the host stopped since.
    pub(super) fn finish(&mut self, slot: u32) -> Option<DiskEvent> {
        self.vacant.push(slot);
        let job = self.jobs[slot as usize].take()?;
        let n = self.done;
        self.done += 1;
        let kind = self.plan.faults.iter().find(|(which, _)| which.contains(&n)).map(|(_, k)| *k);
        Some(match job {
            DiskJob::Verify { piece, slabs, digests } => self.verify(piece, slabs, digests, kind),
            DiskJob::Spill { piece, held } => self.spill(piece, held, kind),
            DiskJob::Read { peer, run, mut slab } => {
                let result = match kind {
                    Some(kind) => Err(fault(kind, "read")),
                    None => {
                        self.read(run, &mut slab);
                        Ok(())
                    }
                };
                DiskEvent::Read { peer, run, slab, result }
            }
        })
    }

    fn verify(
        &mut self,
        piece: PieceIndex,
        slabs: Vec<Held>,
        digests: bool,
        kind: Option<FaultKind>,
    ) -> DiskEvent {
        let slabs_back = |slabs: Vec<Held>| slabs.into_iter().map(|h| h.slab).collect();
        if let Some(kind) = kind {
            return DiskEvent::Verified {
                piece,
                slabs: slabs_back(slabs),
                verdict: Verdict::Failed(fault(kind, "write")),
                digests: Vec::new(),
            };
        }
        let blocks = self.content.geometry.blocks_in(piece) as usize;
        let mut tags = self.spilled.remove(&piece).unwrap_or_default();
        tags.resize(blocks, None);
        for held in &slabs {
            self.gather(piece, held, &mut tags);
        }
        let tags: Vec<u64> = tags
            .into_iter()
            .enumerate()
            .map(|(i, tag)| {
                tag.unwrap_or_else(|| panic!("verify of piece {piece}: block {i} is nowhere"))
            })
            .collect();
        let good = tags
            .iter()
            .enumerate()
            .all(|(i, &tag)| tag == self.content.tag(piece.0, i as u32 * BLOCK_LEN));
        if good {
            assert!(self.have.insert(piece), "piece {piece} was verified twice");
        }
        DiskEvent::Verified {
            piece,
            slabs: slabs_back(slabs),
            verdict: if good { Verdict::Good } else { Verdict::Bad },
            digests: if good && !digests { Vec::new() } else { tags },
        }
    }

    fn spill(&mut self, piece: PieceIndex, held: Held, kind: Option<FaultKind>) -> DiskEvent {
        let result = match kind {
            Some(kind) => Err(fault(kind, "write")),
            None => {
                let blocks = self.content.geometry.blocks_in(piece) as usize;
                let mut tags = self.spilled.remove(&piece).unwrap_or_default();
                tags.resize(blocks, None);
                self.gather(piece, &held, &mut tags);
                self.spilled.insert(piece, tags);
                Ok(())
            }
        };
        DiskEvent::Spilled { piece, held, result }
    }

    /// Copies the tags of the filled blocks to their places in the piece.
    fn gather(&self, piece: PieceIndex, held: &Held, tags: &mut [Option<u64>]) {
        let first = (held.begin / BLOCK_LEN) as usize;
        for i in (0..u32::BITS).filter(|i| held.filled & (1 << i) != 0) {
            let at = first + i as usize;
            assert!(at < tags.len(), "block {at} is beyond piece {piece}");
            let length = self.content.geometry.block_at(piece, at as u32).length;
            match held.slab.chunk(i * BLOCK_LEN, length) {
                Chunk::Phantom { tag, .. } => tags[at] = Some(tag),
                Chunk::Bytes(_) => panic!("the simulator's pools are phantom"),
            }
        }
    }

    fn read(&self, run: Block, slab: &mut Slab) {
        let is_there = self.have.has(run.piece);
        let was_there = is_there || self.lost.contains(&run.piece);
        assert!(was_there, "read of piece {}, which is not verified", run.piece);
        // Of a piece that was lost meanwhile comes something, and nobody may be sent it.
        let wrong = u64::from(!is_there);
        let tags = slab.tags_mut().expect("the simulator's pools are phantom");
        for i in 0..run.length.div_ceil(BLOCK_LEN) {
            tags[i as usize] = self.content.tag(run.piece.0, run.begin + i * BLOCK_LEN) ^ wrong;
        }
    }
}

fn fault(kind: FaultKind, what: &str) -> DiskFault {
    DiskFault {
        kind,
        operation: format!("{what} 16384 bytes at offset 0 of"),
        file: "phantom".to_owned(),
        cause: "the plan says so".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slab::{Pool, Purpose};

    const PIECE: PieceIndex = PieceIndex(1);

    fn disk(plan: DiskPlan) -> Disk {
        let geometry = Geometry::new(100_000, 40_000).expect("valid");
        Disk::new(Content::new(7, geometry), plan, Bitfield::empty(3))
    }

    fn held(disk: &Disk, pool: &mut Pool, filled: u32, wrong: bool) -> Held {
        let mut slab = pool.take(40_000, Purpose::Download).expect("budget");
        for i in 0..3 {
            let begin = i * BLOCK_LEN;
            let tag = disk.content.tag(PIECE.0, begin) ^ u64::from(wrong && i == 1);
            let length = disk.content.geometry.block_at(PIECE, i).length;
            slab.put(begin, Chunk::Phantom { length, tag });
        }
        Held { begin: 0, filled, slab }
    }

    fn verify(disk: &mut Disk, slabs: Vec<Held>) -> (Verdict, Vec<u64>) {
        let job = DiskJob::Verify { piece: PIECE, slabs, digests: false };
        let (slot, _) = disk.start(Instant::ZERO, job);
        match disk.finish(slot) {
            Some(DiskEvent::Verified { verdict, digests, .. }) => (verdict, digests),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tells_good_from_bad_and_joins_what_was_spilled() {
        let mut pool = Pool::phantom(1 << 20);
        let mut d = disk(DiskPlan::default());
        let bad = held(&d, &mut pool, 0b111, true);
        let (verdict, digests) = verify(&mut d, vec![bad]);
        assert_eq!(verdict, Verdict::Bad);
        assert_eq!(digests.iter().filter(|&&t| t == d.content.tag(1, 0)).count(), 1);
        assert!(!d.have().has(PIECE));

        let early = held(&d, &mut pool, 0b010, false);
        let (slot, _) = d.start(Instant::ZERO, DiskJob::Spill { piece: PIECE, held: early });
        assert!(matches!(d.finish(slot), Some(DiskEvent::Spilled { result: Ok(()), .. })));
        let rest = held(&d, &mut pool, 0b101, true);
        assert_eq!(verify(&mut d, vec![rest]).0, Verdict::Good);
        assert!(d.have().has(PIECE));
        assert_eq!(d.pending(), 0);
    }

    #[test]
    fn fails_by_plan_and_takes_its_time() {
        let plan = DiskPlan {
            job_time: Duration::from_millis(1),
            rate: Some(BLOCK_LEN.into()),
            faults: vec![(1..2, FaultKind::Full)],
            ..DiskPlan::default()
        };
        let mut pool = Pool::phantom(1 << 20);
        let mut d = disk(plan);
        let good = held(&d, &mut pool, 0b111, false);
        let (a, at) = d.start(
            Instant::ZERO,
            DiskJob::Verify { piece: PIECE, slabs: vec![good], digests: false },
        );
        assert_eq!(at, Instant::from_micros(3_001_000));
        assert!(d.finish(a).is_some());
        let bad = held(&d, &mut pool, 0b111, false);
        assert!(matches!(verify(&mut d, vec![bad]).0, Verdict::Failed(_)));
    }

    #[test]
    #[should_panic(expected = "not verified")]
    fn unverified_bytes_are_never_read() {
        let mut pool = Pool::phantom(1 << 20);
        let d = disk(DiskPlan::default());
        let mut slab = pool.take(16_384, Purpose::Upload).expect("budget");
        d.read(Block { piece: PIECE, begin: 0, length: 16_384 }, &mut slab);
    }
}
