//! What name servers are asked, and what of their answers is read (RFC 1035, RFC 3596). Only the form.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, rdata::RData};

use crate::net::resolver::MAX_ADDRESSES;

/// The family of addresses that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<Kind> for TYPE {
    fn from(kind: Kind) -> TYPE {
        match kind {
            Kind::V4 => TYPE::A,
            Kind::V6 => TYPE::AAAA,
        }
    }
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// All there are of that family, which may be none, at most [`MAX_ADDRESSES`].
    Addresses(Vec<IpAddr>),
    /// More than a datagram holds.
    Cut,
    /// It does not know, or does not want to say.
    Refused,
}

/// The question for the addresses of `host`.
///
/// # Errors
/// It is no name of a host.
pub fn query(id: u16, host: &str, kind: Kind) -> io::Result<Vec<u8>> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a host");
    let name = Name::new(host.strip_suffix('.').unwrap_or(host)).map_err(invalid)?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(name, TYPE::from(kind).into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().map_err(invalid)
}

/// What `message` says, if it answers that question.
pub fn read(message: &[u8], id: u16, host: &str, kind: Kind) -> Option<Answer> {
    let packet = Packet::parse(message).ok()?;
    let asked = packet.questions.first()?;
    let name = asked.qname.to_string();
    let same = name.eq_ignore_ascii_case(host.strip_suffix('.').unwrap_or(host));
    let answers = packet.has_flags(PacketFlag::RESPONSE) && packet.id() == id;
    if !answers || !same || asked.qtype != TYPE::from(kind).into() {
        return None;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Answer::Cut);
    }
    Some(match packet.rcode() {
        RCODE::NoError => Answer::Addresses(
            packet
                .answers
                .iter()
                .filter_map(|record| match (&record.rdata, kind) {
                    (RData::A(a), Kind::V4) => Some(Ipv4Addr::from(a.address).into()),
                    (RData::AAAA(aaaa), Kind::V6) => Some(Ipv6Addr::from(aaaa.address).into()),
                    _ => None,
                })
                .take(MAX_ADDRESSES)
                .collect(),
        ),
        RCODE::NameError => Answer::Addresses(Vec::new()),
        _ => Answer::Refused,
    })
}
