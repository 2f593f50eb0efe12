//! The folder a demo works in, and what its peers share: bytes from a seeded generator.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    base::rng::Rng,
    cli::exit::{Exit, Failure},
};

/// Name of the shared file.
pub(super) const NAME: &str = "payload.bin";
/// The same bytes in every demo.
const SEED: u64 = 0xD0_07_BE_EF;

/// A folder that is gone afterwards, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Workshop {
    dir: PathBuf,
    keep: bool,
}

impl Workshop {
    /// A folder of our own, or the one to be kept: it must be empty.
    pub(super) fn open(keep: Option<&Path>) -> Result<Self, Failure> {
        let name = || format!("downpour-demo-{}", std::process::id());
        let dir = keep.map_or_else(|| std::env::temp_dir().join(name()), Path::to_path_buf);
        let failed = |e: &io::Error| {
            Failure::new(Exit::Disk, format!("could not make the folder `{}`", dir.display()))
                .cause(e)
        };
        if keep.is_some() {
            fs::create_dir_all(&dir).map_err(|e| failed(&e))?;
            if fs::read_dir(&dir).map_err(|e| failed(&e))?.next().is_some() {
                let message = format!("`{}` is not empty", dir.display());
                return Err(Failure::new(Exit::Exists, message)
                    .remedy("Name an empty folder, or one that does not exist yet."));
            }
        } else {
            // Refused when somebody else has put something there.
            fs::create_dir(&dir).map_err(|e| failed(&e))?;
        }
        Ok(Workshop { dir, keep: keep.is_some() })
    }

    /// A folder within it, made if it is not there.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.dir.join(name);
        let made = fs::create_dir_all(&dir);
        made.map(|()| dir.clone()).map_err(|e| {
            Failure::new(Exit::Disk, format!("could not make the folder `{}`", dir.display()))
                .cause(&e)
        })
    }

    /// Makes room: a folder within it is no longer needed.
    pub(super) fn discard(&self, name: &str) {
        if !self.keep {
            // The whole folder goes at the end anyway.
            let _ = fs::remove_dir_all(self.dir.join(name));
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if !self.keep {
            // Nobody can be told; the system clears its temporary folder sooner or later.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Writes the first `length` bytes of the payload into `dir`; returns the file's path.
pub(super) fn write(dir: &Path, length: u64) -> Result<PathBuf, Failure> {
    let path = dir.join(NAME);
    let fill = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        let mut rng = Rng::new(SEED);
        let mut buffer = vec![0; 1 << 20];
        let mut left = length;
        while left > 0 {
            rng.fill(&mut buffer);
            let part = left.min(buffer.len() as u64) as usize;
            file.write_all(&buffer[..part])?;
            left -= part as u64;
        }
        Ok(())
    };
    fill().map_err(|e| {
        Failure::new(Exit::Disk, format!("could not write `{}`", path.display())).cause(&e)
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_start_of_the_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let long = fs::read(write(dir.path(), 3_000_000).expect("written")).expect("there");
        let short = fs::read(write(dir.path(), 1_500_000).expect("written")).expect("there");
        assert_eq!((long.len(), short.len()), (3_000_000, 1_500_000));
        assert!(long.starts_with(&short));
    }

    #[test]
    fn a_folder_to_be_kept_must_be_empty_and_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let kept = dir.path().join("kept");
        let w = Workshop::open(Some(&kept)).expect("made");
        w.folder("a").expect("made");
        w.discard("a");
        drop(w);
        assert!(kept.join("a").is_dir());
        assert_eq!(Workshop::open(Some(&kept)).expect_err("not empty").exit, Exit::Exists);
    }

    #[test]
    fn any_other_folder_is_gone_afterwards() {
        let w = Workshop::open(None).expect("made");
        let dir = w.folder("a").expect("made");
        w.discard("a");
        assert!(!dir.exists());
        let dir = w.dir.clone();
        drop(w);
        assert!(!dir.exists());
    }
}
