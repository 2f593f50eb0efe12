//! Carries the encryption handshake over sockets, and says how a connection begins.
//!
//! What is said is in [`crate::mse`]; how long it may take is the caller's to bound.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    base::{hash::Sha1Hash, rng::Rng},
    mse::{
        Agreed, Ciphers, Encryption, Initiator, Methods, MseError, Receiver, SECRET_LEN, Secret,
    },
};

/// Bytes read at a time: a whole handshake.
const READ_LEN: usize = 2 << 10;

/// A connection that is ready for messages.
#[derive(Debug)]
pub struct Opened<T> {
    /// What carries it.
    pub stream: T,
    /// What has come already, plainly.
    pub first: Vec<u8>,
    /// How it is hidden.
    pub encryption: Encryption,
    /// What hides it.
    pub ciphers: Option<Box<Ciphers>>,
}

impl<T> Opened<T> {
    /// One that is not hidden.
    pub const fn plain(stream: T, first: Vec<u8>) -> Self {
        Opened { stream, first, encryption: Encryption::Off, ciphers: None }
    }

    fn new(stream: T, agreed: Agreed) -> Self {
        let Agreed { ciphers, first } = agreed;
        let encryption = Encryption::of(ciphers.as_deref());
        Opened { stream, first, encryption, ciphers }
    }

    /// The same connection, carried by what `change` makes of the stream.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Opened<U> {
        let Opened { stream, first, encryption, ciphers } = self;
        Opened { stream: change(stream), first, encryption, ciphers }
    }
}

impl<T, E> Opened<Result<T, E>> {
    /// The connection, if there is what carries it.
    ///
    /// # Errors
    /// Why there is not.
    pub fn transpose(self) -> Result<Opened<T>, E> {
        let Opened { stream, first, encryption, ciphers } = self;
        Ok(Opened { stream: stream?, first, encryption, ciphers })
    }
}

/// Begins a connection that we dialled, about the torrent `skey`; `initial` is said inside.
///
/// # Errors
/// What the socket said; `InvalidData` with an [`MseError`] if there is no agreement.
pub async fn initiate(
    mut stream: TcpStream,
    skey: Sha1Hash,
    offered: Methods,
    initial: Vec<u8>,
) -> io::Result<Opened<TcpStream>> {
    let (secret, rng) = draw()?;
    let (mut initiator, mut out) = Initiator::new(skey, offered, initial, secret, rng);
    let mut buf = [0; READ_LEN];
    loop {
        stream.write_all(&out).await?;
        out.clear();
        let n = read(&mut stream, &mut buf).await?;
        if let Some(agreed) = initiator.read(&buf[..n], &mut out).map_err(refused)? {
            return Ok(Opened::new(stream, agreed));
        }
    }
}

/// Begins a connection that was accepted, and of which `first` has been read. Gives the torrent it is
/// about; see [`Receiver::read`].
///
/// # Errors
/// What the socket said; `InvalidData` with an [`MseError`] if there is no agreement.
pub async fn receive(
    mut stream: TcpStream,
    first: Vec<u8>,
    allowed: Methods,
    find: impl Fn(Sha1Hash) -> Option<Sha1Hash>,
) -> io::Result<(Sha1Hash, Opened<TcpStream>)> {
    let (secret, rng) = draw()?;
    let mut receiver = Receiver::new(allowed, secret, rng);
    let (mut buf, mut out) = ([0; READ_LEN], Vec::new());
    buf[..first.len()].copy_from_slice(&first);
    let mut n = first.len();
    loop {
        let agreed = receiver.read(&buf[..n], &mut out, &find).map_err(refused)?;
        stream.write_all(&out).await?;
        out.clear();
        if let Some((skey, agreed)) = agreed {
            return Ok((skey, Opened::new(stream, agreed)));
        }
        n = read(&mut stream, &mut buf).await?;
    }
}

async fn read(stream: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    match stream.read(buf).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

fn refused(error: MseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A private key and lengths of padding, as the system's chance gives them.
#[expect(clippy::disallowed_methods, reason = "what nobody may guess comes from the system")]
fn draw() -> io::Result<(Secret, Rng)> {
    let (mut secret, mut seed) = ([0; SECRET_LEN], [0; 8]);
    for bytes in [&mut secret[..], &mut seed] {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok((Secret(secret), Rng::new(u64::from_le_bytes(seed))))
}
