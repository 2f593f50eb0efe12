//! On which account torrents borrow memory: those of one volume wait for one disk, and leave room to the others.

use crate::{
    base::slab::{Account, Pool},
    disk::Volume,
};

/// The accounts of a shard, one for each volume.
#[derive(Debug, Default)]
pub(super) struct Accounts(Vec<OnVolume>);

#[derive(Debug)]
struct OnVolume {
    volume: Volume,
    account: Account,
    /// Torrents on it.
    torrents: usize,
}

impl Accounts {
    /// That of a torrent which comes to be on `volume`. What waits for no disk has the pool's own, and keeps none to
    /// its share.
    pub(super) fn of(&mut self, volume: Volume, pool: &mut Pool) -> Account {
        if volume == Volume::default() {
            return Account::default();
        }
        let known = self.0.iter().position(|known| known.volume == volume);
        let free = || self.0.iter().position(|known| known.torrents == 0);
        let at = known.or_else(free).unwrap_or_else(|| {
            let is_first = self.0.is_empty();
            let account = if is_first { Account::default() } else { pool.open_account() };
            self.0.push(OnVolume { volume, account, torrents: 0 });
            self.0.len() - 1
        });
        let OnVolume { account, torrents, .. } = self.0[at];
        self.0[at] = OnVolume { volume, account, torrents: torrents + 1 };
        self.share(pool);
        account
    }

    /// A torrent that was on `volume` is gone.
    pub(super) fn leave(&mut self, volume: Volume, pool: &mut Pool) {
        if let Some(of) = self.0.iter_mut().find(|known| known.volume == volume) {
            of.torrents = of.torrents.saturating_sub(1);
        }
        self.share(pool);
    }

    fn share(&self, pool: &mut Pool) {
        pool.share(self.0.iter().filter(|of| of.torrents > 0).count() > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torrents_of_one_volume_share_their_memory() {
        let (mut accounts, mut pool) = (Accounts::default(), Pool::new(1 << 20));
        let mut of = |volume| accounts.of(Volume(volume), &mut pool);
        let [of_none, first, second, again] = [0, 5, 7, 5].map(&mut of);
        assert_eq!([of_none, first], [Account::default(); 2]);
        assert!(second != first && again == first);
        // Who is gone reserves nothing, and his place is another's.
        accounts.leave(Volume(5), &mut pool);
        assert_ne!(accounts.of(Volume(9), &mut pool), first, "one is left there");
        accounts.leave(Volume(7), &mut pool);
        assert_eq!(accounts.of(Volume(8), &mut pool), second);
    }
}
