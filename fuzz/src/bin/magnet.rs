//! A magnet link, or a code, that is accepted says the same when it is written again.

#![no_main]

use downpour::{
    base::limits::MAX_MAGNET_BYTES,
    metainfo::{Magnet, ShareCode},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|link: &str| {
    if let Ok(code) = link.parse::<ShareCode>() {
        assert_eq!(code.to_string().parse(), Ok(code));
    }
    let Ok(magnet) = link.parse::<Magnet>() else { return };
    let again = magnet.to_string();
    if again.len() <= MAX_MAGNET_BYTES {
        assert_eq!(again.parse(), Ok(magnet));
    }
});
