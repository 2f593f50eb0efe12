//! Items that anybody may store in the network (BEP 44): immutable ones under the hash of their value,
//! mutable ones under the hash of their owner's key, signed.
//!
//! An [`Item`] that exists is whole: its value is bencoding of a bounded size and its signature is
//! right. How many are kept is bounded, also for one network; when it is full the one goes that is farthest from our
//! id.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{
    id::NodeId,
    message::{RawItem, RawSigned, code},
    peers::SHARE,
};
use crate::{
    base::{
        compact::network,
        hash::sha1,
        limits::{MAX_DHT_ITEM, MAX_DHT_ITEMS, MAX_DHT_SALT},
        time::Instant,
    },
    bencode::{Limits, Value},
};

/// An item is kept for so long after it was stored (BEP 44, *Expiration*).
const LIFE: Duration = Duration::from_secs(2 * 3600);

/// Something stored in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    value: Box<[u8]>,
    signed: Option<Signed>,
}

/// What makes an item mutable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signed {
    key: [u8; 32],
    salt: Box<[u8]>,
    sequence: i64,
    signature: [u8; 64],
}

/// Why something is no item; each has its code in the network (BEP 44, *Errors*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Longer than nodes have to take.
    #[error("the value is longer than {MAX_DHT_ITEM} bytes")]
    TooBig,
    /// Longer than nodes have to take.
    #[error("the salt is longer than {MAX_DHT_SALT} bytes")]
    SaltTooBig,
    /// Not signed by the key, or no key.
    #[error("the signature does not match")]
    Signature,
    /// No bencoding.
    #[error("the value is not bencoded")]
    Malformed,
}

impl ItemError {
    /// Its code in the network.
    pub const fn code(self) -> u16 {
        match self {
            ItemError::TooBig => code::TOO_BIG,
            ItemError::SaltTooBig => code::SALT_TOO_BIG,
            ItemError::Signature => code::SIGNATURE,
            ItemError::Malformed => code::PROTOCOL,
        }
    }
}

/// Signs mutable items.
#[derive(Debug)]
pub struct SecretKey(Ed25519KeyPair);

impl SecretKey {
    /// The key that grows from these 32 secret bytes (RFC 8032).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        SecretKey(pair.expect("every seed of 32 bytes makes a key"))
    }

    /// What others know its items by.
    pub fn public(&self) -> [u8; 32] {
        let key = self.0.public_key().as_ref();
        key.try_into().expect("an ed25519 key has 32 bytes")
    }
}

/// Where the items of a key are stored.
pub fn target_of(key: &[u8; 32], salt: &[u8]) -> NodeId {
    sha1(&[&key[..], salt].concat()).into()
}

impl Item {
    /// An immutable item; `value` is bencoded.
    ///
    /// # Errors
    /// [`ItemError`] if nodes would not take it.
    pub fn immutable(value: &[u8]) -> Result<Self, ItemError> {
        checked(value)?;
        Ok(Item { value: value.into(), signed: None })
    }

    /// A mutable item; `value` is bencoded. It takes the place of those with lower `sequence`.
    ///
    /// # Errors
    /// [`ItemError`] if nodes would not take it.
    pub fn mutable(
        value: &[u8],
        key: &SecretKey,
        salt: &[u8],
        sequence: i64,
    ) -> Result<Self, ItemError> {
        checked(value)?;
        if salt.len() > MAX_DHT_SALT {
            return Err(ItemError::SaltTooBig);
        }
        let signature = key.0.sign(&to_sign(salt, sequence, value));
        let signature = signature.as_ref().try_into().expect("an ed25519 signature has 64 bytes");
        let signed = Signed { key: key.public(), salt: salt.into(), sequence, signature };
        Ok(Item { value: value.into(), signed: Some(signed) })
    }

    /// Checks an item that came from outside.
    ///
    /// # Errors
    /// [`ItemError`]: what is wrong with it.
    pub fn check(raw: &RawItem<'_>) -> Result<Self, ItemError> {
        checked(raw.value)?;
        let signed = raw.signed.map(|signed| check_signed(raw.value, &signed)).transpose()?;
        Ok(Item { value: raw.value.into(), signed })
    }

    /// Where it is stored.
    pub fn target(&self) -> NodeId {
        match &self.signed {
            Some(signed) => target_of(&signed.key, &signed.salt),
            None => sha1(&self.value).into(),
        }
    }

    /// The value, bencoded.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The key of a mutable item.
    pub fn key(&self) -> Option<[u8; 32]> {
        self.signed.as_ref().map(|signed| signed.key)
    }

    /// The number of changes of a mutable item.
    pub fn sequence(&self) -> Option<i64> {
        self.signed.as_ref().map(|signed| signed.sequence)
    }

    /// The item as it travels.
    pub fn raw(&self) -> RawItem<'_> {
        let signed = self.signed.as_ref().map(|signed| RawSigned {
            key: &signed.key,
            salt: &signed.salt,
            sequence: signed.sequence,
            signature: &signed.signature,
        });
        RawItem { value: &self.value, signed }
    }
}

fn checked(value: &[u8]) -> Result<(), ItemError> {
    if value.len() > MAX_DHT_ITEM {
        return Err(ItemError::TooBig);
    }
    Value::scan(value, Limits::DHT).map(|_| ()).map_err(|_| ItemError::Malformed)
}

fn check_signed(value: &[u8], raw: &RawSigned<'_>) -> Result<Signed, ItemError> {
    if raw.salt.len() > MAX_DHT_SALT {
        return Err(ItemError::SaltTooBig);
    }
    let key: [u8; 32] = raw.key.try_into().map_err(|_| ItemError::Signature)?;
    let signature = raw.signature.try_into().map_err(|_| ItemError::Signature)?;
    let message = to_sign(raw.salt, raw.sequence, value);
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&message, raw.signature)
        .map_err(|_| ItemError::Signature)?;
    Ok(Signed { key, salt: raw.salt.into(), sequence: raw.sequence, signature })
}

/// What a signature is over (BEP 44, *Signature Verification*).
fn to_sign(salt: &[u8], sequence: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + salt.len() + 48);
    if !salt.is_empty() {
        out.extend_from_slice(format!("4:salt{}:", salt.len()).as_bytes());
        out.extend_from_slice(salt);
    }
    out.extend_from_slice(format!("3:seqi{sequence}e1:v").as_bytes());
    out.extend_from_slice(value);
    out
}

/// An item, and who has brought it last.
#[derive(Debug)]
struct Stored {
    item: Item,
    at: Instant,
    /// Its network.
    by: IpAddr,
}

/// The items stored on this node.
#[derive(Debug, Default)]
pub(super) struct Items {
    stored: HashMap<NodeId, Stored>,
}

impl Items {
    /// Stores an item; `own` decides what is kept when it is full.
    ///
    /// # Errors
    /// The code of why not.
    pub(super) fn put(
        &mut self,
        now: Instant,
        own: &NodeId,
        item: Item,
        cas: Option<i64>,
        from: IpAddr,
    ) -> Result<(), u16> {
        let (target, by) = (item.target(), network(from));
        let old = self.stored.get(&target).filter(|stored| now.since(stored.at) < LIFE);
        if let Some(Stored { item: old, .. }) = old
            && let (Some(old_sequence), Some(sequence)) = (old.sequence(), item.sequence())
        {
            if cas.is_some_and(|cas| cas != old_sequence) {
                return Err(code::CAS_MISMATCH);
            }
            if sequence < old_sequence || sequence == old_sequence && old.value != item.value {
                return Err(code::OLD_SEQUENCE);
            }
        } else if old.is_none() {
            let has_its_share = |items: &Items| {
                let its = items.stored.values().filter(|stored| stored.by == by).count();
                its >= MAX_DHT_ITEMS / SHARE
            };
            if self.stored.len() >= MAX_DHT_ITEMS || has_its_share(self) {
                self.expire(now);
            }
            let has_its_share = has_its_share(self);
            // Whoever makes items up takes nobody else's place.
            if self.stored.len() >= MAX_DHT_ITEMS || has_its_share {
                let others = self.stored.iter().filter(|(_, s)| !has_its_share || s.by == by);
                let farthest = others.map(|(id, _)| *id).max_by_key(|id| id.distance(own));
                let far = farthest.filter(|far| far.distance(own) > target.distance(own));
                self.stored.remove(&far.ok_or(code::SERVER)?);
            }
        }
        self.stored.insert(target, Stored { item, at: now, by });
        Ok(())
    }

    /// What is stored there.
    pub(super) fn get(&self, now: Instant, target: &NodeId) -> Option<&Item> {
        let Stored { item, at, .. } = self.stored.get(target)?;
        (now.since(*at) < LIFE).then_some(item)
    }

    /// Forgets what has not been stored again.
    pub(super) fn expire(&mut self, now: Instant) {
        self.stored.retain(|_, stored| now.since(stored.at) < LIFE);
    }

    /// How many are stored.
    pub(super) fn len(&self) -> usize {
        self.stored.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER as HEX;

    const NOW: Instant = Instant::ZERO;
    const OWN: NodeId = NodeId([0; 20]);

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        HEX.decode(hex.as_bytes()).expect("hex").try_into().expect("its length")
    }

    /// The test vectors of BEP 44.
    #[test]
    fn the_items_of_the_specification_are_whole() {
        let key: [u8; 32] =
            bytes("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548");
        for (salt, target, signature) in [
            (
                &b""[..],
                "4a533d47ec9c7d95b1ad75f576cffc641853b750",
                "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
                 1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
            ),
            (
                b"foobar",
                "411eba73b6f087ca51a3795d9c8c938d365e32c1",
                "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
                 df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
            ),
        ] {
            let signature: [u8; 64] = bytes(signature);
            let signed = RawSigned { key: &key, salt, sequence: 1, signature: &signature };
            let raw = RawItem { value: b"12:Hello World!", signed: Some(signed) };
            let item = Item::check(&raw).expect("whole");
            assert_eq!(item.target().to_string(), target);
            assert_eq!(item.raw(), raw);
            for wrong in [
                RawItem { value: b"12:Hello World?", ..raw },
                RawItem { signed: Some(RawSigned { sequence: 2, ..signed }), ..raw },
                RawItem { signed: Some(RawSigned { salt: b"other", ..signed }), ..raw },
                RawItem { signed: Some(RawSigned { key: &key[1..], ..signed }), ..raw },
            ] {
                assert_eq!(Item::check(&wrong), Err(ItemError::Signature));
            }
        }
        let immutable = Item::immutable(b"12:Hello World!").expect("whole");
        assert_eq!(immutable.target().to_string(), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    }

    #[test]
    fn what_nodes_would_not_take_is_no_item() {
        let key = SecretKey::from_seed(&[7; 32]);
        let long = format!("{}:{}", MAX_DHT_ITEM, "x".repeat(MAX_DHT_ITEM));
        assert_eq!(Item::immutable(long.as_bytes()), Err(ItemError::TooBig));
        assert_eq!(Item::immutable(b"hello"), Err(ItemError::Malformed));
        let salt = [b's'; MAX_DHT_SALT + 1];
        assert_eq!(Item::mutable(b"i1e", &key, &salt, 1), Err(ItemError::SaltTooBig));
        let item = Item::mutable(b"i1e", &key, &salt[1..], 1).expect("it fits");
        assert_eq!(Item::check(&item.raw()), Ok(item.clone()));
        assert_eq!(item.target(), target_of(&key.public(), &salt[1..]));
    }

    #[test]
    fn a_newer_item_takes_the_place_of_an_older_one() {
        let key = SecretKey::from_seed(&[7; 32]);
        let item =
            |value: &[u8], sequence| Item::mutable(value, &key, b"", sequence).expect("an item");
        let mut items = Items::default();
        let mut put =
            |value: &[u8], sequence, cas| items.put(NOW, &OWN, item(value, sequence), cas, by(1));
        assert_eq!(put(b"i1e", 5, Some(3)), Ok(()));
        assert_eq!(put(b"i2e", 4, None), Err(code::OLD_SEQUENCE));
        assert_eq!(put(b"i2e", 5, None), Err(code::OLD_SEQUENCE));
        assert_eq!(put(b"i1e", 5, None), Ok(()), "stored again");
        assert_eq!(put(b"i2e", 6, Some(4)), Err(code::CAS_MISMATCH));
        assert_eq!(put(b"i2e", 6, Some(5)), Ok(()));
        let target = target_of(&key.public(), b"");
        assert_eq!(items.get(NOW, &target).and_then(Item::sequence), Some(6));
        assert_eq!(items.get(NOW + LIFE, &target), None);
    }

    fn by(n: u32) -> IpAddr {
        IpAddr::from(n.wrapping_add(0x0900_0000).to_be_bytes())
    }

    #[test]
    fn items_that_one_host_makes_up_take_only_the_place_of_its_own() {
        let mut items = Items::default();
        let item = |n: u32| Item::immutable(format!("i{n}e").as_bytes()).expect("an item");
        assert_eq!(items.put(NOW, &OWN, item(0), None, by(1)), Ok(()));
        let put: Vec<_> = (1..500).map(|n| items.put(NOW, &OWN, item(n), None, by(2))).collect();
        assert!(put.contains(&Err(code::SERVER)));
        assert_eq!(items.len(), 1 + MAX_DHT_ITEMS / SHARE);
        assert!(items.get(NOW, &item(0).target()).is_some());
        assert_eq!(items.put(NOW + LIFE, &OWN, item(1_000), None, by(2)), Ok(()));
        assert_eq!(items.len(), 1, "the others have expired");
    }

    #[test]
    fn a_full_store_keeps_what_is_near() {
        let mut items = Items::default();
        for n in 0..MAX_DHT_ITEMS + 200 {
            let item = Item::immutable(format!("i{n}e").as_bytes()).expect("an item");
            let (target, stored) = (item.target(), items.put(NOW, &OWN, item, None, by(n as u32)));
            assert_eq!(items.get(NOW, &target).is_some(), stored.is_ok());
        }
        assert_eq!(items.len(), MAX_DHT_ITEMS);
        items.expire(NOW + LIFE);
        assert_eq!(items.len(), 0);
    }
}
