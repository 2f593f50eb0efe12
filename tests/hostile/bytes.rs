//! Bencoded input, good and bad: pieces of text that nobody checks.

/// A string.
pub(crate) fn text(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("{}:", content.len()).as_bytes(), content].concat()
}

/// A list of strings.
pub(crate) fn list<T: AsRef<[u8]>>(strings: &[T]) -> Vec<u8> {
    [&b"l"[..], &strings.iter().flat_map(text).collect::<Vec<u8>>(), b"e"].concat()
}

/// `unit` so many times.
pub(crate) fn times(unit: &str, count: usize) -> Vec<u8> {
    unit.as_bytes().repeat(count)
}

/// So many lists inside one another.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    [times("l", depth), times("e", depth)].concat()
}

/// A dictionary from keys and values that are bencoded already, in this order.
pub(crate) fn dict<V: AsRef<[u8]>>(entries: &[(&str, V)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(key, value)| [&text(key)[..], value.as_ref()].concat());
    [&b"d"[..], &entries.collect::<Vec<u8>>(), b"e"].concat()
}

/// The hash of a piece that nobody has.
pub(crate) const HASH: &[u8; 20] = b"aaaaaaaaaaaaaaaaaaaa";

/// An info dictionary of one file of 5 bytes, with some values, bencoded already, in place of the right
/// ones. An empty value leaves its key out.
pub(crate) fn info(instead: &[(&str, &[u8])]) -> Vec<u8> {
    let pieces = text(HASH);
    let mut entries: Vec<(&str, &[u8])> = vec![
        ("length", b"i5e"),
        ("name", b"1:a"),
        ("piece length", b"i16384e"),
        ("pieces", &pieces),
    ];
    for &(key, value) in instead {
        entries.retain(|(known, _)| *known != key);
        entries.push((key, value));
    }
    entries.retain(|(_, value)| !value.is_empty());
    entries.sort_by_key(|(key, _)| *key);
    dict(&entries)
}

/// A torrent file around an info dictionary, with further values, bencoded already.
pub(crate) fn around(info: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![("info", info)];
    entries.extend(more);
    entries.sort_by_key(|(key, _)| *key);
    dict(&entries)
}

/// A torrent file with one file of 5 bytes; see [`info`].
pub(crate) fn torrent(instead: &[(&str, &[u8])]) -> Vec<u8> {
    around(&info(instead), &[])
}

/// A torrent file with the folder `n` of these items of `files`, of 1 byte together.
pub(crate) fn folder(files: &[Vec<u8>]) -> Vec<u8> {
    folder_of(files, &text(HASH))
}

/// As [`folder`], of empty files: it is complete as soon as they are made.
pub(crate) fn empty_folder(files: &[Vec<u8>]) -> Vec<u8> {
    folder_of(files, b"0:")
}

fn folder_of(files: &[Vec<u8>], pieces: &[u8]) -> Vec<u8> {
    let files = [&b"l"[..], &files.concat(), b"e"].concat();
    torrent(&[("length", b""), ("files", &files), ("name", b"1:n"), ("pieces", pieces)])
}

/// An item of `files`: a length as it is written, and the names of its path.
pub(crate) fn file<T: AsRef<[u8]>>(length: &str, path: &[T]) -> Vec<u8> {
    dict(&[("length", format!("i{length}e").into_bytes()), ("path", list(path))])
}
