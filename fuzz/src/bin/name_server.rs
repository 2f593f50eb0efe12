//! What name servers answer: of the family that was asked for, not too many, and only to the question.

#![no_main]

use std::net::IpAddr;

use downpour::net::{
    name_service::messages::{Answer, Kind, query, read},
    resolver::MAX_ADDRESSES,
};
use libfuzzer_sys::fuzz_target;

const ID: u16 = 0x1234;
const HOST: &str = "tracker.example";

fn check(message: &[u8], kind: Kind) {
    if let Some(Answer::Addresses(found)) = read(message, ID, HOST, kind) {
        assert!(found.len() <= MAX_ADDRESSES);
        assert!(found.iter().all(|ip: &IpAddr| ip.is_ipv4() == (kind == Kind::V4)));
        assert_eq!(read(message, ID ^ 1, HOST, kind), None);
        assert_eq!(read(message, ID, "other.example", kind), None);
    }
}

fuzz_target!(|data: &[u8]| {
    for kind in [Kind::V4, Kind::V6] {
        check(data, kind);
    }
    // The rest answers our question: flags, how many answers, and those.
    if let Some((&[kind, flags, code, answers], rest)) = data.split_first_chunk() {
        let kind = if kind & 1 == 0 { Kind::V4 } else { Kind::V6 };
        let mut message = query(ID, HOST, kind).expect("a name");
        (message[2], message[3], message[7]) = (0x80 | flags, code, answers);
        message.extend_from_slice(rest);
        check(&message, kind);
    }
    if let Ok(name) = std::str::from_utf8(data)
        && let Ok(message) = query(ID, name, Kind::V4)
    {
        // A question is no answer.
        assert_eq!(read(&message, ID, name, Kind::V4), None);
    }
});
