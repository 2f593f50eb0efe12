//! What somebody says of an address that holds a key, such as a tracker of its own: without the key.
//!
//! Addresses in other texts are not looked for: that is for whoever tells them.

/// What ends the host and the port of an address.
const PATH: [char; 3] = ['/', '?', '#'];
/// Characters of the shortest key; shorter parts of an address are words.
const KEY: usize = 8;

/// What the tracker at `url` said, without what it repeats of its address.
pub fn without_keys(url: &str, said: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (user, path) = match rest.split_once('@') {
        Some((user, rest)) => (user, rest),
        None => ("", rest),
    };
    let path = path.find(PATH).map_or("", |at| &path[at..]);
    let parts = path.split(['/', '?', '#', '&', '=']).chain(user.split(':'));
    let keys = parts.filter(|part| part.len() >= KEY && !part.starts_with("announce"));
    keys.fold(said.to_owned(), |said, key| said.replace(key, "…"))
}

#[cfg(test)]
mod tests {
    use super::without_keys as echo;

    #[test]
    fn a_tracker_does_not_repeat_a_key() {
        let url = "https://user:passw0rd@a.example/0123abcd/announce.php?authkey=k3yk3yk3y";
        for (said, told) in [
            ("no passkey 0123abcd", "no passkey …"),
            (
                "authkey k3yk3yk3y of passw0rd is unknown to announce.php",
                "authkey … of … is unknown to announce.php",
            ),
            ("a.example is busy", "a.example is busy"),
        ] {
            assert_eq!(echo(url, said), told);
        }
        assert_eq!(echo("udp://a.example:80", "a.example:80 refused"), "a.example:80 refused");
    }
}
