//! The NAT Port Mapping Protocol as bytes: requests for the address outside and for a mapping, and the
//! answers to them (RFC 6886, section 3).

use std::{net::Ipv4Addr, time::Duration};

use super::{Granted, Refusal, Transport};

const VERSION: u8 = 0;
const ANSWER: u8 = 0x80;
const ADDRESS: u8 = 0;

/// The request for the gateway's address outside.
pub const ADDRESS_REQUEST: [u8; 2] = [VERSION, ADDRESS];

/// Reads an answer to [`ADDRESS_REQUEST`]; `None` if it is something else.
pub fn read_address(datagram: &[u8]) -> Option<Result<Ipv4Addr, Refusal>> {
    Some(body(datagram, ADDRESS)?.and_then(|body| {
        let octets: [u8; 4] = body.try_into().map_err(|_| Refusal::Nonsense)?;
        Ok(octets.into())
    }))
}

/// A mapping that is asked for; asked for again it is renewed.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// For which bytes.
    pub transport: Transport,
    /// Our port.
    pub port: u16,
    /// The port outside that we would like; 0 with a lifetime of zero.
    pub outside: u16,
    /// For how long; zero ends it.
    pub lifetime: Duration,
}

impl Request {
    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.op(), 0, 0];
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(&self.outside.to_be_bytes());
        out.extend_from_slice(&(self.lifetime.as_secs() as u32).to_be_bytes());
        out
    }

    /// Reads an answer to this request; `None` if it is something else.
    pub fn read(&self, datagram: &[u8]) -> Option<Result<Granted, Refusal>> {
        let body = match body(datagram, self.op())? {
            Ok(body) => body,
            Err(refusal) => return Some(Err(refusal)),
        };
        let &[i, j, p, q, a, b, c, d] = body else { return Some(Err(Refusal::Nonsense)) };
        if u16::from_be_bytes([i, j]) != self.port {
            return None;
        }
        let (port, seconds) = (u16::from_be_bytes([p, q]), u32::from_be_bytes([a, b, c, d]));
        let lifetime = Duration::from_secs(seconds.into());
        let makes_sense = port != 0 && seconds != 0;
        Some(makes_sense.then_some(Granted { port, lifetime }).ok_or(Refusal::Nonsense))
    }

    const fn op(&self) -> u8 {
        match self.transport {
            Transport::Udp => 1,
            Transport::Tcp => 2,
        }
    }
}

/// What follows the head of an answer to `op`: a code and the time since the gateway began.
fn body(datagram: &[u8], op: u8) -> Option<Result<&[u8], Refusal>> {
    let &[version, answer, high, low, ref rest @ ..] = datagram else { return None };
    if answer & ANSWER == 0 {
        return None;
    }
    let code = u16::from_be_bytes([high, low]);
    if version != VERSION || code == 1 {
        return Some(Err(Refusal::Version));
    }
    if answer != ANSWER | op {
        return None;
    }
    if code != 0 {
        return Some(Err(Refusal::Code(code)));
    }
    Some(rest.get(4..).ok_or(Refusal::Nonsense))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request {
        transport: Transport::Udp,
        port: 6881,
        outside: 6881,
        lifetime: super::super::LIFETIME,
    };

    #[test]
    fn a_mapping_is_asked_for_and_granted() {
        assert_eq!(REQUEST.encode(), [0, 1, 0, 0, 0x1a, 0xe1, 0x1a, 0xe1, 0, 0, 0x0e, 0x10]);
        let good = [0, 0x81, 0, 0, 0, 0, 0, 5, 0x1a, 0xe1, 0x1b, 0x58, 0, 0, 0, 120];
        let granted = Granted { port: 7000, lifetime: Duration::from_secs(120) };
        assert_eq!(REQUEST.read(&good), Some(Ok(granted)));
        for length in 0..good.len() {
            let cut = REQUEST.read(&good[..length]);
            assert!(matches!(cut, None | Some(Err(Refusal::Nonsense))), "{length} bytes: {cut:?}");
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            REQUEST.read(&bytes)
        };
        assert_eq!(with(1, 0x82), None, "that was for TCP");
        assert_eq!(with(1, 0x01), None, "that is a question");
        assert_eq!(with(9, 0xe2), None, "that was for another port");
        assert_eq!(with(0, 2), Some(Err(Refusal::Version)));
        assert_eq!(with(3, 2), Some(Err(Refusal::Code(2))));
        assert_eq!(with(15, 0), Some(Err(Refusal::Nonsense)), "for no time at all");
    }

    #[test]
    fn the_address_outside_is_read() {
        let good = [0, 0x80, 0, 0, 0, 0, 0, 5, 9, 8, 7, 6];
        assert_eq!(read_address(&good), Some(Ok(Ipv4Addr::new(9, 8, 7, 6))));
        assert_eq!(read_address(&good[..11]), Some(Err(Refusal::Nonsense)));
        assert_eq!(read_address(&ADDRESS_REQUEST), None);
        assert_eq!(read_address(&[0, 0x80, 0, 3, 0, 0, 0, 5]), Some(Err(Refusal::Code(3))));
    }
}
