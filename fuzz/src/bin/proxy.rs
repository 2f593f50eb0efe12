//! What a proxy says, and what a user says of one: nothing of it panics, and a place that was understood is
//! written as it was meant.

#![no_main]

use downpour::proxy::{
    ProxyAddress, http_connect,
    socks::{self, Request},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some((place, length))) = socks::read_reply(data) {
        assert!(length <= data.len());
        let mut again = socks::request(Request::Connect, &place);
        again[1] = 0;
        assert_eq!(socks::read_reply(&again), Ok(Some((place, again.len()))));
    }
    if let Some((place, datagram)) = socks::unwrap(data) {
        let again = socks::wrap(&place, datagram);
        assert_eq!(socks::unwrap(&again), Some((place, datagram)));
    }
    if let Ok(Some(length)) = http_connect::read_answer(data) {
        // What follows is not the proxy's.
        assert_eq!(http_connect::read_answer(&data[..length]), Ok(Some(length)));
    }
    if let Some(proxy) = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok()) {
        let ProxyAddress { scheme, host, port, .. } = proxy;
        let shown = ProxyAddress { scheme, host, port, credentials: None };
        assert_eq!(shown.to_string().parse(), Ok(shown));
    }
});
