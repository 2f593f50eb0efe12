//! What the user names as a torrent: a file, standard input, an address, a magnet link, a hash.
//!
//! Reads bytes, bounded, and says in a sentence what is wrong with them; what they mean is for
//! `metainfo`.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;
use url::Url;

use super::{
    args,
    exit::{Exit, Failure},
    outlet,
};
use crate::{
    base::{
        hash::{InfoHash, Sha1Hash},
        limits::MAX_TORRENT_BYTES,
    },
    metainfo::{Magnet, Metainfo, MetainfoError},
    session::torrent_file::{self, FetchError},
};

/// Something named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Stdin,
    File(PathBuf),
    Url(Url),
    Magnet(String),
    InfoHash(Sha1Hash),
}

impl Named {
    /// What `text` names. A file that exists is never taken for something else, except `-`.
    pub(super) fn of(text: &str) -> Named {
        let scheme = |s: &str| text.get(..s.len()).is_some_and(|t| t.eq_ignore_ascii_case(s));
        if text == "-" {
            Named::Stdin
        } else if scheme("magnet:") {
            Named::Magnet(text.to_owned())
        } else if (scheme("http://") || scheme("https://"))
            && let Ok(url) = Url::parse(text)
        {
            Named::Url(url)
        } else if let Ok(hash) = text.parse()
            && !Path::new(text).exists()
        {
            Named::InfoHash(hash)
        } else {
            Named::File(text.into())
        }
    }

    /// The link, if it is one or a hash.
    pub(super) fn magnet(&self) -> Option<Result<Magnet, Failure>> {
        match self {
            Named::Magnet(link) => Some(magnet(link)),
            Named::InfoHash(hash) => Some(Ok(Magnet::new(InfoHash::v1(*hash)))),
            Named::Stdin | Named::File(_) | Named::Url(_) => None,
        }
    }

    /// How a person is told of it.
    pub(super) fn title(&self) -> String {
        match self {
            Named::Stdin => "standard input".to_owned(),
            Named::File(path) => format!("`{}`", path.display()),
            Named::Url(url) => format!("`{url}`"),
            Named::Magnet(_) => "the magnet link".to_owned(),
            Named::InfoHash(hash) => hash.to_string(),
        }
    }
}

/// The torrent that `text` names; one that is elsewhere is fetched by this way.
pub(super) async fn torrent(
    text: &str,
    way: &args::Outlet,
    ca_file: Option<&Path>,
) -> Result<Metainfo, Failure> {
    let named = Named::of(text);
    let title = named.title();
    let failure = |exit| Failure::new(exit, format!("could not read {title}"));
    let bytes = match named {
        Named::File(path) => patiently(move || read_file(&path)).await.map_err(|e| {
            let failure = failure(Exit::Input).cause(&e);
            match text.contains("://") {
                true => failure.remedy("Addresses of torrents begin with http:// or https://."),
                false => failure,
            }
        })?,
        Named::Stdin => patiently(|| bounded(io::stdin().lock()))
            .await
            .map_err(|e| failure(Exit::Input).cause(&e))?,
        Named::Url(url) => {
            let outlet = outlet::open(way).await?;
            torrent_file::fetch(&url, &outlet, ca_file.map(Into::into)).await.map_err(
                |e| match e {
                    FetchError::Setup(_) => failure(Exit::Input).cause(&e),
                    _ => failure(Exit::Network).cause(&e),
                },
            )?
        }
        Named::Magnet(link) => return Err(no_metadata(magnet(&link).err())),
        Named::InfoHash(_) => return Err(no_metadata(None)),
    };
    Metainfo::from_bytes(&bytes).map_err(|e| invalid(&title, &bytes, &e))
}

/// What a magnet link says.
pub(super) fn magnet(link: &str) -> Result<Magnet, Failure> {
    link.parse().map_err(|e| Failure::new(Exit::Input, "could not read the magnet link").cause(&e))
}

/// A damaged link is told of before what no link says.
fn no_metadata(damaged: Option<Failure>) -> Failure {
    damaged.unwrap_or_else(|| {
        Failure::new(Exit::Input, "a link or a hash does not say what the torrent holds")
            .remedy("`magnet LINK` makes a torrent file of it, which peers have.")
    })
}

fn invalid(title: &str, bytes: &[u8], error: &MetainfoError) -> Failure {
    let failure = Failure::new(Exit::Input, format!("{title} is not a torrent that can be used"));
    // What people often have instead.
    match bytes.trim_ascii_start().first() {
        None => failure.cause(&io::Error::other("it is empty")),
        Some(b'<') => failure.cause(&io::Error::other("it is a web page")),
        Some(_) => failure.cause(error),
    }
}

/// Refuses a folder that was named and is not there.
pub(super) fn folder(path: &Path) -> Result<(), Failure> {
    let failure =
        || Failure::new(Exit::Input, format!("could not read the folder `{}`", path.display()));
    match path.metadata() {
        Ok(facts) if facts.is_dir() => Ok(()),
        Ok(_) => Err(failure().cause(&io::Error::from(io::ErrorKind::NotADirectory))),
        Err(error) => Err(failure().cause(&error)),
    }
}

/// Reads where that may take as long as somebody types, or a disk does not answer.
async fn patiently(
    read: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
) -> io::Result<Vec<u8>> {
    spawn_blocking(read).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}

pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    bounded(file)
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TORRENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TORRENT_BYTES {
        return Err(io::Error::other("larger than any torrent file (64 MiB)"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(Named::of("-"), Named::Stdin);
        assert_eq!(Named::of("a.torrent"), Named::File("a.torrent".into()));
        assert!(matches!(Named::of("MAGNET:?xt=x"), Named::Magnet(_)));
        assert!(matches!(Named::of("https://a.example/b.torrent"), Named::Url(_)));
        assert!(matches!(Named::of("http://"), Named::File(_)));
        assert_eq!(Named::of(hash), Named::InfoHash(hash.parse().expect("valid")));
    }

    #[test]
    fn nothing_endless_is_read() {
        assert!(bounded(io::repeat(0)).is_err());
        assert_eq!(bounded(&b"abc"[..]).expect("short"), b"abc");
        let folder = read_file(Path::new("/")).expect_err("a folder");
        assert_eq!(folder.kind(), io::ErrorKind::IsADirectory);
    }
}
