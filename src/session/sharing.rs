//! What sharing by a code takes besides a torrent: an info hash that nobody can guess, and the addresses at
//! which this host is reached.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use tokio::time::timeout;

use super::{Session, random};
use crate::base::hash::sha1;

/// Where the user's secret lies, among the state.
const SECRET_FILE: &str = "share.secret";
/// Its length.
const SECRET_LEN: usize = 32;

/// A text for the `source` of a torrent, with which nobody can guess its info hash, whatever he knows of
/// its files. With a folder for state it is the same whenever the same is shared, and so is the code.
///
/// # Errors
/// The system has no random numbers, or the state cannot be read or written.
pub fn unguessable(state_dir: Option<&Path>, name: &str, length: u64) -> io::Result<String> {
    let secret = match state_dir {
        Some(dir) => secret(&dir.join(SECRET_FILE))?,
        None => random()?,
    };
    let digest = sha1(&[&secret[..], &length.to_be_bytes(), name.as_bytes()].concat());
    Ok(format!("downpour share {digest}"))
}

/// The secret in a file; the first time one is drawn.
fn secret(path: &Path) -> io::Result<[u8; SECRET_LEN]> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => draw(path),
        read => read,
    }
}

fn read(path: &Path) -> io::Result<[u8; SECRET_LEN]> {
    fs::read(path)?.try_into().map_err(|_| {
        let problem = format!("`{}` is damaged; without it codes are new ones", path.display());
        io::Error::new(io::ErrorKind::InvalidData, problem)
    })
}

/// Draws one and writes it, unless another run does first: the file has all of it or is not there, whatever happens
/// meanwhile, and once its code is told it stays.
fn draw(path: &Path) -> io::Result<[u8; SECRET_LEN]> {
    let secret = random()?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    let named = match fs::hard_link(&new, path) {
        // Not every file system has links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&new, path),
        linked => linked,
    };
    // What is left of it is of no use.
    let _ = fs::remove_file(&new);
    match named {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return read(path),
        named => named?,
    }
    if let Some(folder) = path.parent() {
        // Not every folder can be opened, nor flushed on every file system.
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(secret)
}

impl Session {
    /// Waits until a gateway lets peers in, but no longer than `most`; not at all if none is asked.
    pub async fn wait_mapped(&self, most: Duration) {
        if let Some(mapping) = &self.port_mapping {
            // Without one we go on as well.
            let _ = timeout(most, mapping.mapped().wait_for(Option::is_some)).await;
        }
    }

    /// Where peers reach us: at the address by which this host reaches others, one of each family, and at
    /// that of the gateway that lets peers in. Behind another gateway nobody outside can use them.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let Some(port) = self.port() else { return Vec::new() };
        let listen = &self.core.config.listen;
        let mut found: Vec<SocketAddr> = match listen.addr {
            Some(ip) => vec![(ip, port).into()],
            None => {
                let way = self.core.config.outlet.binding();
                let v4 = way.source_v4();
                let v6 = if listen.ipv6 { way.source_v6() } else { None };
                v4.into_iter().chain(v6).map(|ip| SocketAddr::new(ip, port)).collect()
            }
        };
        let outside = self.mapped().and_then(|m| Some(SocketAddr::new(m.ip.into(), m.tcp?)));
        found.extend(outside);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_user_sharing_the_same_gets_the_same() {
        let (mine, others) =
            (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        let of = |dir: &tempfile::TempDir, name| {
            unguessable(Some(dir.path()), name, 7).expect("written")
        };
        assert_eq!(of(&mine, "a"), of(&mine, "a"));
        assert_ne!(of(&mine, "a"), of(&mine, "b"));
        assert_ne!(of(&mine, "a"), of(&others, "a"));
        let anew = || unguessable(None, "a", 7).expect("random");
        assert_ne!(anew(), anew());
    }

    #[test]
    fn a_damaged_secret_is_told_of_and_not_replaced() {
        let dir = tempfile::tempdir().expect("made");
        std::fs::write(dir.path().join(SECRET_FILE), "short").expect("written");
        assert!(unguessable(Some(dir.path()), "a", 7).is_err());
    }
}
