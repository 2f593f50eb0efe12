//! One file to share, made in memory, and its torrent.

use sha1::{Digest as _, Sha1};

use super::bencode::Value;

/// A block: what peers ask for at once.
pub(crate) const BLOCK: u32 = 16 << 10;

/// A file and its torrent. Pieces have two blocks; the last piece one and a short one.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) piece_length: u32,
    private: bool,
    /// Bytes of a key in the info dictionary that nobody knows.
    ballast: usize,
    tiers: Vec<Vec<String>>,
    web_seed: Option<String>,
}

impl Content {
    /// So many pieces of 32 KiB, the last one shorter.
    pub(crate) fn new(pieces: u32) -> Self {
        assert!(pieces > 0);
        let length = (pieces - 1) * 2 * BLOCK + BLOCK + 1_234;
        // Numbers in a row, so that no two blocks are the same.
        let mut bytes: Vec<u8> = (0..=length / 4).flat_map(u32::to_be_bytes).collect();
        bytes.truncate(length as usize);
        Content {
            name: "content.bin".to_owned(),
            bytes,
            piece_length: 2 * BLOCK,
            private: false,
            ballast: 0,
            tiers: Vec::new(),
            web_seed: None,
        }
    }

    /// By another name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// With these trackers in the torrent, tier by tier (BEP 12).
    pub(crate) fn tiers(mut self, tiers: &[&[&str]]) -> Self {
        let owned = |tier: &&[&str]| tier.iter().map(|&url| url.to_owned()).collect();
        self.tiers = tiers.iter().map(owned).collect();
        self
    }

    /// With this web seed in the torrent (BEP 19).
    pub(crate) fn web_seed(mut self, url: &str) -> Self {
        self.web_seed = Some(url.to_owned());
        self
    }

    /// A private torrent (BEP 27).
    pub(crate) fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// With an info dictionary that is longer by these bytes.
    pub(crate) fn ballast(mut self, bytes: usize) -> Self {
        self.ballast = bytes;
        self
    }

    pub(crate) fn has_trackers(&self) -> bool {
        !self.tiers.is_empty()
    }

    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn pieces(&self) -> u32 {
        self.bytes.chunks(self.piece_length as usize).len() as u32
    }

    pub(crate) fn piece(&self, index: u32) -> &[u8] {
        let mut pieces = self.bytes.chunks(self.piece_length as usize);
        pieces.nth(index as usize).expect("there is such a piece")
    }

    pub(crate) fn block(&self, index: u32, begin: u32, length: u32) -> &[u8] {
        &self.piece(index)[begin as usize..(begin + length) as usize]
    }

    /// Every block of a piece as `(index, begin, length)`.
    pub(crate) fn blocks(&self, index: u32) -> Vec<(u32, u32, u32)> {
        let length = self.piece(index).len() as u32;
        let begins = (0..length).step_by(BLOCK as usize);
        begins.map(|begin| (index, begin, BLOCK.min(length - begin))).collect()
    }

    /// Every block of every piece.
    pub(crate) fn all_blocks(&self) -> Vec<(u32, u32, u32)> {
        (0..self.pieces()).flat_map(|index| self.blocks(index)).collect()
    }

    /// The payload of a BITFIELD with these pieces.
    pub(crate) fn bitfield(&self, has: &[u32]) -> Vec<u8> {
        let mut bits = vec![0; self.pieces().div_ceil(8) as usize];
        for &index in has {
            bits[index as usize / 8] |= 0x80 >> (index % 8);
        }
        bits
    }

    fn info(&self) -> Value {
        let hashes = self.bytes.chunks(self.piece_length as usize).flat_map(Sha1::digest);
        let mut entries = vec![
            ("length", Value::Int(self.bytes.len() as i64)),
            ("name", Value::bytes(&self.name)),
            ("piece length", Value::Int(self.piece_length.into())),
            ("pieces", Value::Bytes(hashes.collect())),
        ];
        if self.private {
            entries.push(("private", Value::Int(1)));
        }
        if self.ballast > 0 {
            entries.push(("zz", Value::Bytes(vec![7; self.ballast])));
        }
        Value::dict(entries)
    }

    /// The info dictionary.
    pub(crate) fn metadata(&self) -> Vec<u8> {
        self.info().write()
    }

    pub(crate) fn info_hash(&self) -> [u8; 20] {
        Sha1::digest(self.info().write()).into()
    }

    /// The torrent file: `announce` with the first tracker, `announce-list` if there is another.
    pub(crate) fn torrent(&self) -> Vec<u8> {
        let mut entries = vec![("info", self.info())];
        let all: Vec<&String> = self.tiers.iter().flatten().collect();
        if let Some(first) = all.first() {
            entries.push(("announce", Value::bytes(first)));
        }
        if all.len() > 1 {
            let tier = |urls: &Vec<String>| Value::List(urls.iter().map(Value::bytes).collect());
            entries.push(("announce-list", Value::List(self.tiers.iter().map(tier).collect())));
        }
        if let Some(url) = &self.web_seed {
            entries.push(("url-list", Value::bytes(url)));
        }
        Value::dict(entries).write()
    }
}
