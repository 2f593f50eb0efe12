//! One end of a peer connection, by hand: bytes, the handshake, messages.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

use super::{PATIENCE, content::Content};

/// The first 20 bytes of every connection.
pub(crate) const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// No extension at all.
pub(crate) const PLAIN: [u8; 8] = [0; 8];
/// The fast extension (BEP 6).
pub(crate) const FAST: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 0x04];
/// The extension protocol (BEP 10).
pub(crate) const EXTENDED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0];
/// Both.
pub(crate) const FAST_EXTENDED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0x04];

/// A handshake after its first 20 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) reserved: [u8; 8],
    pub(crate) info_hash: [u8; 20],
    pub(crate) peer_id: [u8; 20],
}

impl Hello {
    pub(crate) fn new(content: &Content, reserved: [u8; 8]) -> Self {
        Hello::of(content.info_hash(), reserved)
    }

    pub(crate) fn of(info_hash: [u8; 20], reserved: [u8; 8]) -> Self {
        Hello { reserved, info_hash, peer_id: *b"-XX0001-by-hand-----" }
    }

    /// As another peer: no two connections of one id are kept.
    pub(crate) fn by(mut self, number: u8) -> Self {
        self.peer_id[19] = number;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&PROTOCOL[..], &self.reserved, &self.info_hash, &self.peer_id].concat()
    }
}

/// A message; indices and the like are not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    Bitfield(Vec<u8>),
    Request(u32, u32, u32),
    /// Index, begin and bytes.
    Piece(u32, u32, Vec<u8>),
    Cancel(u32, u32, u32),
    Port(u16),
    Suggest(u32),
    HaveAll,
    HaveNone,
    Reject(u32, u32, u32),
    AllowedFast(u32),
    /// The extension's number and what follows it.
    Extended(u8, Vec<u8>),
    /// A message of no known number.
    Other(u8, Vec<u8>),
}

impl Message {
    /// The block of `content` that a request names.
    pub(crate) fn block(content: &Content, (index, begin, length): (u32, u32, u32)) -> Self {
        Message::Piece(index, begin, content.block(index, begin, length).to_vec())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        use Message as M;
        let numbers = |list: &[u32]| list.iter().flat_map(|n| n.to_be_bytes()).collect();
        let (id, payload): (u8, Vec<u8>) = match self {
            M::KeepAlive => return vec![0; 4],
            M::Choke => (0, vec![]),
            M::Unchoke => (1, vec![]),
            M::Interested => (2, vec![]),
            M::NotInterested => (3, vec![]),
            M::Have(index) => (4, numbers(&[*index])),
            M::Bitfield(bits) => (5, bits.clone()),
            M::Request(index, begin, length) => (6, numbers(&[*index, *begin, *length])),
            M::Piece(index, begin, block) => {
                (7, [numbers(&[*index, *begin]), block.clone()].concat())
            }
            M::Cancel(index, begin, length) => (8, numbers(&[*index, *begin, *length])),
            M::Port(port) => (9, port.to_be_bytes().to_vec()),
            M::Suggest(index) => (0x0d, numbers(&[*index])),
            M::HaveAll => (0x0e, vec![]),
            M::HaveNone => (0x0f, vec![]),
            M::Reject(index, begin, length) => (0x10, numbers(&[*index, *begin, *length])),
            M::AllowedFast(index) => (0x11, numbers(&[*index])),
            M::Extended(id, payload) => (20, [&[*id], &payload[..]].concat()),
            M::Other(id, payload) => (*id, payload.clone()),
        };
        frame(id, &payload)
    }

    /// The message in what follows the length prefix.
    fn read(body: &[u8]) -> Self {
        use Message as M;
        let Some((&id, payload)) = body.split_first() else { return M::KeepAlive };
        let number = |at: usize| {
            let bytes = payload.get(at..at + 4).expect("long enough");
            u32::from_be_bytes(bytes.try_into().expect("4 bytes"))
        };
        let fixed = |length: usize| assert_eq!(payload.len(), length, "payload of message {id}");
        match id {
            0..=3 | 0x0e | 0x0f => fixed(0),
            4 | 0x0d | 0x11 => fixed(4),
            6 | 8 | 0x10 => fixed(12),
            9 => fixed(2),
            _ => {}
        }
        match id {
            0 => M::Choke,
            1 => M::Unchoke,
            2 => M::Interested,
            3 => M::NotInterested,
            4 => M::Have(number(0)),
            5 => M::Bitfield(payload.to_vec()),
            6 => M::Request(number(0), number(4), number(8)),
            7 => M::Piece(number(0), number(4), payload[8..].to_vec()),
            8 => M::Cancel(number(0), number(4), number(8)),
            9 => M::Port(u16::from_be_bytes([payload[0], payload[1]])),
            0x0d => M::Suggest(number(0)),
            0x0e => M::HaveAll,
            0x0f => M::HaveNone,
            0x10 => M::Reject(number(0), number(4), number(8)),
            0x11 => M::AllowedFast(number(0)),
            20 => M::Extended(payload[0], payload[1..].to_vec()),
            other => M::Other(other, payload.to_vec()),
        }
    }
}

/// A message with this id and payload, whatever they are.
pub(crate) fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("short");
    [&length.to_be_bytes()[..], &[id], payload].concat()
}

/// Where the program may dial us.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) addr: SocketAddr,
    accepted: Receiver<TcpStream>,
}

impl Listener {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listening");
        let addr = listener.local_addr().expect("bound");
        let (sender, accepted) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if sender.send(stream).is_err() {
                    break;
                }
            }
        });
        Listener { addr, accepted }
    }

    /// The next connection, before any byte.
    pub(crate) fn accept(&self) -> Peer {
        Peer::new(self.accepted.recv_timeout(PATIENCE).expect("it dials us"))
    }

    /// The next connection after both handshakes. Gives theirs.
    pub(crate) fn greet(&self, hello: &Hello) -> (Peer, Hello) {
        let mut peer = self.accept();
        let theirs = peer.read_hello();
        peer.send_bytes(&hello.bytes());
        (peer, theirs)
    }

    /// A connection is there that nobody has accepted yet, or is not. Says nothing about later.
    pub(crate) fn is_dialled(&self) -> bool {
        self.accepted.try_recv().is_ok()
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    fences: u32,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        Peer { stream, fences: 0 }
    }

    /// Connects to the program, and says nothing.
    pub(crate) fn dial(port: u16) -> Self {
        Peer::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected"))
    }

    /// Connects to the program, and exchanges handshakes. Gives theirs.
    pub(crate) fn connect(port: u16, hello: &Hello) -> (Self, Hello) {
        let mut peer = Self::dial(port);
        peer.send_bytes(&hello.bytes());
        let theirs = peer.read_hello();
        (peer, theirs)
    }

    /// Our end of the connection.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    /// As [`Peer::send_bytes`]; false if the other side has closed meanwhile.
    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn send(&mut self, message: Message) {
        self.send_bytes(&message.bytes());
    }

    /// All of them in one write.
    pub(crate) fn send_all(&mut self, messages: &[Message]) {
        self.send_bytes(&messages.iter().flat_map(Message::bytes).collect::<Vec<u8>>());
    }

    /// No more bytes follow from us; we still read. Nothing to do if the other side has closed meanwhile.
    pub(crate) fn finish(&mut self) {
        match self.stream.shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => panic!("open: {error}"),
            _ => {}
        }
    }

    /// Exactly so many bytes.
    pub(crate) fn read_bytes(&mut self, length: usize) -> Vec<u8> {
        self.try_read_bytes(length).expect("the connection is open")
    }

    /// Exactly so many bytes; `None` if the connection ends before them. Too slow is a failure.
    pub(crate) fn try_read_bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) => {
                let slow = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                assert!(!slow.contains(&error.kind()), "nothing came within {PATIENCE:?}");
                None
            }
        }
    }

    pub(crate) fn read_hello(&mut self) -> Hello {
        let bytes = self.read_bytes(68);
        assert_eq!(&bytes[..20], PROTOCOL, "{}", bytes.escape_ascii());
        Hello {
            reserved: bytes[20..28].try_into().expect("8 bytes"),
            info_hash: bytes[28..48].try_into().expect("20 bytes"),
            peer_id: bytes[48..].try_into().expect("20 bytes"),
        }
    }

    /// The next message; `None` if the connection is closed instead.
    pub(crate) fn try_read(&mut self) -> Option<Message> {
        let prefix = self.try_read_bytes(4)?;
        let length = u32::from_be_bytes(prefix.try_into().expect("4 bytes"));
        assert!(length <= 1 << 20, "a message of {length} bytes");
        self.try_read_bytes(length as usize).map(|body| Message::read(&body))
    }

    /// The next message.
    pub(crate) fn read(&mut self) -> Message {
        self.try_read().expect("the connection is open")
    }

    /// The first message that fits, and those before it.
    pub(crate) fn read_until(
        &mut self,
        fits: impl Fn(&Message) -> bool,
    ) -> (Message, Vec<Message>) {
        let mut before = Vec::new();
        loop {
            match self.try_read() {
                Some(message) if fits(&message) => return (message, before),
                Some(message) => before.push(message),
                None => panic!("closed after {before:?}"),
            }
        }
    }

    /// Reads on until exactly this message comes. Gives those before it.
    pub(crate) fn expect(&mut self, message: &Message) -> Vec<Message> {
        self.read_until(|m| m == message).1
    }

    /// The other side closes. Gives what it said before.
    pub(crate) fn read_to_end(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.try_read()).collect()
    }

    /// Everything the other side says because of what we sent so far. Needs the fast extension on this
    /// connection, and that piece 0 exists: a request of an odd length has one answer, a reject or the
    /// bytes, and what was said before it is what comes before it. It asks twice: the first answer may
    /// overtake what the other side does at the end of a batch of messages, the second one cannot.
    /// What has to come from elsewhere, such as the check of a piece, is not waited for.
    pub(crate) fn fence(&mut self) -> Vec<Message> {
        let mut said = self.one_fence();
        said.extend(self.one_fence());
        said
    }

    fn one_fence(&mut self) -> Vec<Message> {
        self.fences += 1;
        let length = 100 + self.fences;
        self.send(Message::Request(0, 0, length));
        let (_, before) = self.read_until(|m| match m {
            Message::Reject(0, 0, n) => *n == length,
            Message::Piece(0, 0, block) => block.len() == length as usize,
            _ => false,
        });
        before
    }

    /// Serves every request with what is right until the other side has asked for all of `blocks`, in
    /// whatever order. Gives the other messages that came meanwhile.
    pub(crate) fn serve(&mut self, content: &Content, blocks: &[(u32, u32, u32)]) -> Vec<Message> {
        let mut missing = blocks.to_vec();
        let mut others = Vec::new();
        while !missing.is_empty() {
            match self.read() {
                Message::Request(index, begin, length) => {
                    let asked = (index, begin, length);
                    assert!(missing.contains(&asked), "asks for {asked:?}, not of {missing:?}");
                    missing.retain(|block| *block != asked);
                    self.send(Message::block(content, asked));
                }
                other => others.push(other),
            }
        }
        others
    }
}
