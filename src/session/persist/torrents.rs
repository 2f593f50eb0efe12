//! The torrents of a session as torrent files in the state folder, each named by its info hash: a link leads to its
//! torrent again when none of its peers is there.
//!
//! No trackers are in them, whose addresses may hold keys. A file is written once, when its torrent is added, and
//! nothing waits for it to be durable: what is read is right by its hash, or it is not used.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{hash::Sha1Hash, limits::MAX_TORRENT_BYTES},
    disk::{Access, FileSystem, read_exact_at, write_all_at},
    metainfo::{Info, Metainfo, SafePath},
};

/// Where torrent files lie below the state folder.
pub(super) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("torrents")
}

/// Keeps a torrent. One that is there stays as it is.
///
/// # Errors
/// The system's; then only a link is of less use.
pub(in crate::session) fn keep(
    file_system: &dyn FileSystem,
    state_dir: &Path,
    info: &Arc<Info>,
) -> io::Result<()> {
    let folder = folder(state_dir);
    let name = name(info.info_hash().wire());
    if is_whole(file_system, &folder, &name, info) {
        return Ok(());
    }
    // Whoever writes there at the same time writes the same.
    let beside = format!("{name}.new");
    let (file, _) = file_system.open(&folder, SafePath::of_one(&beside), Access::New)?;
    let written = write_all_at(&*file, &Metainfo::new(info.clone()).to_bytes(), 0);
    drop(file);
    let kept = written.and_then(|()| file_system.rename(&folder, &beside, &name));
    if kept.is_err() {
        // What is left of it is of no use.
        let _ = file_system.remove(&folder, &beside);
    }
    kept
}

/// Whether it is there, as far as a power cut leaves something else: too little, or zeros.
fn is_whole(file_system: &dyn FileSystem, folder: &Path, name: &str, info: &Info) -> bool {
    let opened = file_system.open(folder, SafePath::of_one(name), Access::Read);
    let Ok((file, stamp)) = opened else { return false };
    let mut last = [0];
    stamp.length > info.bytes().len() as u64
        && read_exact_at(&*file, &mut last, stamp.length - 1).is_ok()
        && last == *b"e"
}

/// The torrent that is kept under a hash, if one is. What is no torrent of that hash is set aside: then it is as if
/// there were none, and that is told in one sentence.
pub(in crate::session) fn find(
    file_system: &dyn FileSystem,
    state_dir: &Path,
    info_hash: Sha1Hash,
) -> Result<Option<Arc<Info>>, String> {
    let folder = folder(state_dir);
    let name = name(info_hash);
    let bytes = match read(file_system, &folder, &name) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) => return Err(format!("could not read `{}`: {error}", shown(&folder, &name))),
    };
    let why = match Metainfo::from_bytes(&bytes) {
        Ok(metainfo) if metainfo.info.info_hash().wire() == info_hash => {
            return Ok(Some(metainfo.info));
        }
        Ok(_) => "it has another info hash".to_owned(),
        Err(error) => error.to_string(),
    };
    let aside = format!("{name}.damaged");
    let done = match file_system.rename(&folder, &name, &aside) {
        Ok(()) => format!("it was set aside as `{}`", shown(&folder, &aside)),
        Err(error) => error.to_string(),
    };
    Err(format!("the torrent kept as `{}` is not usable, {why}: {done}", shown(&folder, &name)))
}

fn read(file_system: &dyn FileSystem, folder: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let (file, stamp) = match file_system.open(folder, SafePath::of_one(name), Access::Read) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // One more is enough to find out that they are too many.
    let mut bytes = vec![0; stamp.length.min(MAX_TORRENT_BYTES as u64 + 1) as usize];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(Some(bytes))
}

fn name(info_hash: Sha1Hash) -> String {
    format!("{info_hash}.torrent")
}

fn shown(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::rng::Rng,
        disk::{
            faulty::{Fault, Faulty, Survives},
            sample::sample,
        },
        session::persist::make_folder,
    };

    const STATE: &str = "/state";

    fn info(name: &str) -> Arc<Info> {
        sample(16_384, &[(name, 20_000)]).info
    }

    fn found(disk: &Faulty, info: &Info) -> Result<Option<Arc<Info>>, String> {
        find(disk, Path::new(STATE), info.info_hash().wire())
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_set_aside() {
        let disk = Faulty::new();
        make_folder(&*disk, Path::new(STATE)).expect("made");
        let (one, other) = (info("a"), info("b"));
        assert!(found(&disk, &one).is_ok_and(|none| none.is_none()));
        for info in [&one, &other] {
            keep(&*disk, Path::new(STATE), info).expect("kept");
            let there = found(&disk, info).expect("read").expect("there");
            assert_eq!(there.bytes(), info.bytes());
        }
        // Somebody has put the one in the place of the other.
        let place = |info: &Info| name(info.info_hash().wire());
        disk.rename(&folder(Path::new(STATE)), &place(&one), &place(&other)).expect("renamed");
        let told = found(&disk, &other).expect_err("another one");
        assert!(
            told.contains("another info hash") && told.ends_with(".torrent.damaged`"),
            "{told}"
        );
        assert!(found(&disk, &other).is_ok_and(|none| none.is_none()));
        keep(&*disk, Path::new(STATE), &other).expect("kept");
        assert!(found(&disk, &other).is_ok_and(|there| there.is_some()));
        // What a power cut leaves where lengths are durable before what they are of.
        let length = Metainfo::new(other.clone()).to_bytes().len();
        let (file, _) = disk
            .open(&folder(Path::new(STATE)), SafePath::of_one(&place(&other)), Access::New)
            .expect("opened");
        write_all_at(&*file, &vec![0; length], 0).expect("written");
        keep(&*disk, Path::new(STATE), &other).expect("kept");
        assert!(found(&disk, &other).is_ok_and(|there| there.is_some()));
    }

    /// Whatever happens at whatever moment, it is there as it was or not at all, and can be kept again.
    #[test]
    fn a_power_cut_leaves_all_of_it_or_nothing() {
        let info = info("a");
        for seed in 0..20 {
            for at in 1.. {
                let disk = Faulty::new();
                make_folder(&*disk, Path::new(STATE)).expect("made");
                disk.plan(Fault::End, at);
                let kept = keep(&*disk, Path::new(STATE), &info);
                let operations = disk.operations();
                disk.restart(&mut Survives::Some(Rng::new(seed)));
                if let Ok(Some(there)) = found(&disk, &info) {
                    assert_eq!(there.bytes(), info.bytes());
                }
                keep(&*disk, Path::new(STATE), &info).expect("kept");
                assert!(found(&disk, &info).is_ok_and(|there| there.is_some()), "{at}");
                if kept.is_ok() && at > operations {
                    break;
                }
            }
        }
    }
}
