//! The program and one peer of it, after the handshakes: where most cases begin.

use crate::driver::{
    content::Content,
    peer::{Hello, Listener, Message, Peer},
    program::{Place, Program},
};

/// The program as seed or as leech, and a peer played by hand.
pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) content: Content,
    pub(crate) program: Program,
    pub(crate) peer: Peer,
    /// What the program said first.
    pub(crate) hello: Hello,
}

impl Scene {
    /// The program has everything, and was dialled.
    pub(crate) fn seed(pieces: u32, reserved: [u8; 8]) -> Self {
        Self::seed_of(Content::new(pieces), reserved, &[])
    }

    pub(crate) fn seed_of(content: Content, reserved: [u8; 8], args: &[&str]) -> Self {
        let place = Place::new();
        let mut program = place.seed(&content, args);
        let (peer, hello) = Peer::connect(program.port(), &Hello::new(&content, reserved));
        Scene { place, content, program, peer, hello }
    }

    /// The program has nothing, and has dialled.
    pub(crate) fn leech(pieces: u32, reserved: [u8; 8]) -> Self {
        Self::leech_of(Content::new(pieces), &[], reserved, &[])
    }

    /// The program has the pieces `has`, and has dialled.
    pub(crate) fn leech_of(
        content: Content,
        has: &[u32],
        reserved: [u8; 8],
        args: &[&str],
    ) -> Self {
        let (place, listener) = (Place::new(), Listener::new());
        if !has.is_empty() {
            place.write_part(&content, has);
        }
        let program = place.leech(&content, &[listener.addr], args);
        let (peer, hello) = listener.greet(&Hello::new(&content, reserved));
        Scene { place, content, program, peer, hello }
    }

    /// Another peer, which dials the program.
    pub(crate) fn join(&mut self, number: u8, reserved: [u8; 8]) -> Peer {
        let hello = Hello::new(&self.content, reserved).by(number);
        Peer::connect(self.program.port(), &hello).0
    }

    /// Becomes interested, and is unchoked.
    pub(crate) fn get_unchoked(&mut self) {
        self.peer.send(Message::Interested);
        self.peer.expect(&Message::Unchoke);
    }

    /// Says that it has everything, and unchokes: the program asks from now on.
    pub(crate) fn offer_all(&mut self) {
        let all: Vec<u32> = (0..self.content.pieces()).collect();
        self.offer(&all);
    }

    /// The same with these pieces only.
    pub(crate) fn offer(&mut self, has: &[u32]) {
        let bits = self.content.bitfield(has);
        self.peer.send_all(&[Message::Bitfield(bits), Message::Unchoke]);
        self.peer.expect(&Message::Interested);
    }

    /// The download ends well, and what it wrote is right.
    pub(crate) fn assert_complete(self) {
        let (code, _) = self.program.end();
        assert_eq!(code, 0);
        assert!(self.place.downloaded(&self.content) == self.content.bytes);
    }
}
