//! What a peer says about pieces before we know how many there are, kept to be heard later.
//!
//! It is kept as the messages it came in, up to a bound. What is not kept is lost for this connection:
//! a peer says what it has only once.

use crate::{
    base::limits::MAX_EARLY,
    wire::{self, Message},
};

/// Messages of one peer, in order.
#[derive(Debug, Default)]
pub struct Early {
    bytes: Vec<u8>,
    lost: bool,
}

impl Early {
    /// Keeps a message if there is room for it.
    pub fn keep(&mut self, message: &Message<'_>) {
        if self.lost {
            return;
        }
        wire::encode::encode(message, &mut self.bytes);
        if self.bytes.len() > MAX_EARLY {
            *self = Early { bytes: Vec::new(), lost: true };
        }
    }

    /// Bytes of memory.
    pub const fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// All of them as they came; `None` if some were lost.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let Early { bytes, lost } = std::mem::take(self);
        (!lost).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_in_order_until_one_has_no_room() {
        let mut early = Early::default();
        early.keep(&Message::Bitfield(&[0xf0]));
        early.keep(&Message::Unchoke);
        assert_eq!(early.take().as_deref(), Some(b"\0\0\0\x02\x05\xf0\0\0\0\x01\x01".as_slice()));
        assert_eq!(early.take(), Some(Vec::new()), "they are taken once");
        early.keep(&Message::Bitfield(&vec![0; MAX_EARLY]));
        early.keep(&Message::Unchoke);
        assert_eq!(early.bytes.capacity(), 0, "what can't be used is not kept");
        assert_eq!(early.take(), None);
    }
}
