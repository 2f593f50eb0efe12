//! At which URL a file of a torrent is (BEP 19, *HTTP/FTP seeding*, GetRight style).
//!
//! HTTP and HTTPS only. A file whose name could not be kept as the torrent has it is looked for under the
//! name that it has here.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::{base::index::FileIndex, metainfo::Info};

/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A web seed of a torrent.
#[derive(Debug, Clone)]
pub struct Site {
    url: Arc<str>,
    info: Arc<Info>,
}

impl Site {
    /// The web seed at `url`, of the torrent that is described by `info`.
    pub const fn new(url: Arc<str>, info: Arc<Info>) -> Self {
        Site { url, info }
    }

    /// The torrent.
    pub const fn info(&self) -> &Arc<Info> {
        &self.info
    }

    /// Its URL, as the torrent has it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where `file` is; `None` if that is no address of HTTP, or there is no such file.
    ///
    /// The URL of a torrent of one file is that of the file, unless it ends in `/`; then the name is added to it.
    /// To that of a folder its name and the file's path are added.
    pub fn url_of(&self, file: FileIndex) -> Option<Url> {
        let layout = self.info.layout();
        let path = layout.file(file)?.path;
        let (base, _) = self.url.split_once('#').unwrap_or((&self.url, ""));
        // Else the host would be what is added.
        Url::parse(base).ok().filter(Url::has_host)?;
        let is_whole = !layout.is_folder() && !base.ends_with('/');
        let url = if is_whole {
            Url::parse(base)
        } else {
            let escaped = path.components().map(|part| utf8_percent_encode(part, ESCAPED));
            let path: Vec<String> = escaped.map(|part| part.to_string()).collect();
            Url::parse(&format!("{}/{}", base.strip_suffix('/').unwrap_or(base), path.join("/")))
        };
        url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::hash::Sha1Hash,
        metainfo::build::{Builder, NewFile},
    };

    fn info(builder: Builder) -> Arc<Info> {
        let hashes = vec![Sha1Hash([0; 20]); builder.geometry().pieces() as usize];
        builder.build(&hashes).expect("valid").info
    }

    fn url(info: &Arc<Info>, base: &str, file: u32) -> Option<String> {
        let site = Site::new(base.into(), info.clone());
        site.url_of(FileIndex(file)).map(|url| url.to_string())
    }

    #[test]
    fn a_file_is_the_url_or_lies_below_it() {
        let one = info(Builder::file("a b?.iso", 5, Some(1 << 14)).expect("valid"));
        for (base, want) in [
            ("http://w.example/x.iso", "http://w.example/x.iso"),
            ("http://w.example/get?id=7#part", "http://w.example/get?id=7"),
            ("https://w.example/pub/", "https://w.example/pub/a%20b%3F.iso"),
            ("http://w.example", "http://w.example/"),
        ] {
            assert_eq!(url(&one, base, 0).as_deref(), Some(want));
        }
        for base in ["ftp://w.example/", "file:///etc/", "w.example/", "http://", "", "http://a b/"]
        {
            assert_eq!(url(&one, base, 0), None, "{base}");
        }
        assert_eq!(url(&one, "http://w.example/", 1), None, "there is no second file");
    }

    #[test]
    fn files_of_a_folder_lie_in_one_of_its_name() {
        let new =
            |path: &str| NewFile { path: path.split('/').map(str::to_owned).collect(), length: 3 };
        let files = vec![new("%2e.txt"), new("d#/ü&+.bin")];
        let folder = info(Builder::folder("my files", files, Some(1 << 14)).expect("valid"));
        for base in ["http://w.example/pub", "http://w.example/pub/"] {
            let at = |file| url(&folder, base, file).expect("an address");
            assert_eq!(at(0), "http://w.example/pub/my%20files/%252e.txt");
            assert_eq!(at(1), "http://w.example/pub/my%20files/d%23/%C3%BC%26%2B.bin");
        }
    }
}
