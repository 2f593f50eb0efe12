//! A lock by name alone: nothing of it is on any disk, and nothing is left of it however its owner ends.
//!
//! With it one session at a time is at the data of a torrent, whatever its state folder is. The name is that of an
//! abstract Unix socket, which the system gives to one socket at a time and takes back when that is closed. Nobody
//! can connect to it. A second name has the number of the process in it, for the sentence that somebody else is told.
//!
//! Why no file is locked: one among the data has to be made where nothing is fetched yet, would be litter after a
//! kill, keeps a disk from being unmounted, and cannot be made on one that is only read; one elsewhere is in a place
//! that two users, or two ways to start the program, do not have in common. A name is known to all users of the
//! computer, and tells them nothing: it is a hash. Who guesses a torrent and where it is can keep the name from us,
//! and no more than that.
//!
//! Not kept apart are two computers with one network disk, runs in network namespaces of their own, such as containers,
//! and runs on systems other than Linux. What is written by somebody else is found out there as ever (`touches`).

use super::lock::NoLock;

/// A name that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Name {
    _held: platform::Held,
}

impl Name {
    /// Takes `name`; none where names are not to be had.
    pub(super) fn try_take(name: &str) -> Result<Option<Name>, NoLock> {
        platform::take(name).map(|held| held.map(|held| Name { _held: held }))
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::{fs, os::fd::OwnedFd};

    use rustix::{
        io::{Errno, Result},
        net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with},
    };

    use super::NoLock;

    /// All sockets of this kind, one a line that ends with the name.
    const NAMES: &str = "/proc/net/unix";

    /// The name, and the one that says whose it is.
    pub(super) type Held = (OwnedFd, Option<OwnedFd>);

    pub(super) fn take(name: &str) -> std::result::Result<Option<Held>, NoLock> {
        match hold(name) {
            Ok(held) => Ok(Some((held, hold(&format!("{name}-{}", std::process::id())).ok()))),
            Err(Errno::ADDRINUSE) => Err(NoLock::Taken(owner(name))),
            Err(_) => Ok(None),
        }
    }

    fn hold(name: &str) -> Result<OwnedFd> {
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&socket, &address)?;
        Ok(socket)
    }

    /// The number of the process that has the name.
    fn owner(name: &str) -> Option<u32> {
        let names = fs::read(NAMES).ok()?;
        let mark = format!(" @{name}-");
        String::from_utf8_lossy(&names)
            .lines()
            .find_map(|line| line.split_once(&mark)?.1.parse().ok())
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::NoLock;

    pub(super) type Held = ();

    pub(super) fn take(_name: &str) -> Result<Option<Held>, NoLock> {
        Ok(None)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_s_at_a_time_and_says_whose() {
        let name = format!("downpour-test-{}", std::process::id());
        let held = Name::try_take(&name).expect("free");
        assert!(held.is_some(), "Linux has names");
        let Err(NoLock::Taken(by)) = Name::try_take(&name) else { panic!("taken twice") };
        assert_eq!(by, Some(std::process::id()));
        assert!(Name::try_take(&format!("{name}x")).expect("another one").is_some());
        drop(held);
        assert!(Name::try_take(&name).expect("free again").is_some());
    }

    #[test]
    fn a_name_that_cannot_be_is_no_lock() {
        assert!(Name::try_take(&"x".repeat(500)).expect("nobody has it").is_none());
    }
}
