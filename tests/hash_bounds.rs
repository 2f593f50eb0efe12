//! Hashing reads not one byte beyond a message: messages lie directly behind and directly before
//! pages that must not be touched, where an access ends the test.
#![cfg(unix)]
#![allow(unsafe_code)] // Only to arrange the pages.

use std::{ptr, slice};

use downpour::base::hash::{Lanes, Sha1, sha1, sha256};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// At least the length of a page.
const PAGE: usize = 64 * 1024;

/// A page between two that must not be touched.
struct Guarded(*mut u8);

impl Guarded {
    fn new(seed: u8) -> Self {
        // SAFETY: fresh memory at a place that the system chooses; both guards are parts of it that
        // no reference is to.
        unsafe {
            let all = ProtFlags::READ | ProtFlags::WRITE;
            let start = mmap_anonymous(ptr::null_mut(), 3 * PAGE, all, MapFlags::PRIVATE);
            let start = start.expect("memory");
            mprotect(start, PAGE, MprotectFlags::empty()).expect("guarded");
            mprotect(start.byte_add(2 * PAGE), PAGE, MprotectFlags::empty()).expect("guarded");
            let page = start.cast::<u8>().add(PAGE);
            for i in 0..PAGE {
                page.add(i).write((i * 31 + i / 256) as u8 ^ seed);
            }
            Guarded(page)
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the middle page is readable, filled, and lives as long as `self`.
        unsafe { slice::from_raw_parts(self.0, PAGE) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole of what `new` mapped, which nothing borrows any more.
        unsafe { munmap(self.0.sub(PAGE).cast(), 3 * PAGE).expect("unmapped") }
    }
}

#[test]
fn nothing_is_read_before_or_behind_a_message() {
    let pages: Vec<_> = (0..17).map(Guarded::new).collect();
    for length in (0..=130).chain([1_000, 16_384, PAGE - 1, PAGE]) {
        for count in [1, 2, 3, 4, 5, 8, 13, 16, 17] {
            let ends = pages.iter().take(count).enumerate().map(|(i, page)| match i % 2 {
                0 => &page.bytes()[..length],
                _ => &page.bytes()[PAGE - length..],
            });
            let messages: Vec<&[u8]> = ends.collect();
            for lanes in Lanes::available() {
                let want: Vec<_> = messages.iter().map(|m| sha1(m)).collect();
                assert_eq!(lanes.sha1(&messages), want, "{lanes:?} {length}");
                let want: Vec<_> = messages.iter().map(|m| sha256(m)).collect();
                assert_eq!(lanes.sha256(&messages), want, "{lanes:?} {length}");
            }
        }
    }
}

#[test]
fn parts_of_different_lengths_end_where_they_end() {
    let pages: Vec<_> = (0..9).map(Guarded::new).collect();
    for lanes in Lanes::available() {
        let mut running = vec![Sha1::new(); pages.len()];
        let mut wholes = vec![Vec::new(); pages.len()];
        for round in [0, 1, 63, 64, 65, 4_000] {
            let parts: Vec<&[u8]> =
                pages.iter().enumerate().map(|(i, p)| &p.bytes()[PAGE - round * i..]).collect();
            lanes.update(&mut running, &parts);
            wholes.iter_mut().zip(parts).for_each(|(whole, part)| whole.extend_from_slice(part));
        }
        let want: Vec<_> = wholes.iter().map(|whole| sha1(whole)).collect();
        assert_eq!(lanes.finish(&mut running), want, "{lanes:?}");
    }
}
