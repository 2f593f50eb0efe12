//! Who is next where many share one thing: whoever has had least of it.
//!
//! How much there is, and when it may be had, is the caller's affair. Whoever comes anew begins where
//! the others are: nobody saves up by staying away.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Those who wait, each at most once, and what each has had. Whoever is gone is to be removed.
#[derive(Debug, Clone)]
pub struct FairQueue<K> {
    waiting: BTreeSet<(u64, K)>,
    /// Of everybody who was here and is not gone.
    had: HashMap<K, u64>,
    /// What the last one who was next had had.
    floor: u64,
}

impl<K> Default for FairQueue<K> {
    fn default() -> Self {
        FairQueue { waiting: BTreeSet::new(), had: HashMap::new(), floor: 0 }
    }
}

impl<K: Copy + Ord + Hash> FairQueue<K> {
    /// Waits from now on, if it does not already.
    pub fn push(&mut self, key: K) {
        let had = self.had.get(&key).map_or(self.floor, |&had| had.max(self.floor));
        self.waiting.insert((had, key));
        self.had.insert(key, had);
    }

    /// Whoever has had least; it waits no more.
    pub fn pop(&mut self) -> Option<K> {
        let (had, key) = self.waiting.pop_first()?;
        self.floor = had;
        Some(key)
    }

    /// It has had so much more.
    pub fn charge(&mut self, key: K, amount: u64) {
        let had = self.had.entry(key).or_insert(self.floor);
        let waited = self.waiting.remove(&(*had, key));
        *had = (*had).max(self.floor).saturating_add(amount);
        if waited {
            self.waiting.insert((*had, key));
        }
    }

    /// It is gone.
    pub fn remove(&mut self, key: K) {
        if let Some(had) = self.had.remove(&key) {
            self.waiting.remove(&(had, key));
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn everybody_gets_the_same_however_large_the_helpings() {
        let (mut queue, mut rng) = (FairQueue::default(), Rng::new(1));
        let mut had = [0u64; 5];
        (0..5).for_each(|key| queue.push(key));
        for _ in 0..10_000 {
            let key = queue.pop().expect("five wait");
            let helping = 1 + rng.below(100 << key);
            had[key as usize] += helping;
            queue.charge(key, helping);
            queue.push(key);
        }
        let (least, most) = (had.iter().min().expect("five"), had.iter().max().expect("five"));
        assert!(most - least <= 2 * (100 << 4), "{had:?}");
    }

    #[test]
    fn who_stays_away_saves_nothing_up() {
        let mut queue = FairQueue::default();
        queue.push(1u8);
        for _ in 0..100 {
            assert_eq!(queue.pop(), Some(1));
            queue.charge(1, 10);
            queue.push(1);
        }
        // It comes late: it has its turn at once, and one turn only.
        queue.push(2);
        let order: Vec<u8> = (0..6)
            .map(|_| {
                let next = queue.pop().expect("two wait");
                queue.charge(next, 10);
                queue.push(next);
                next
            })
            .collect();
        assert_eq!(order.iter().filter(|&&key| key == 2).count(), 3, "{order:?}");
    }

    #[test]
    fn one_waits_once_and_leaves_nothing_behind() {
        let mut queue = FairQueue::default();
        queue.push(1);
        queue.push(1);
        assert_eq!(queue.len(), 1);
        queue.remove(1);
        assert!(queue.is_empty() && queue.pop().is_none() && queue.had.is_empty());
    }
}
