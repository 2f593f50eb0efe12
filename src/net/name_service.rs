//! Names looked up over sockets of our own, for when everything is to go by one interface: the system's
//! look-up cannot be bound to any.
//!
//! Asks the servers that the system would ask, for addresses of both families (RFC 1035, RFC 3596), over UDP
//! and, where an answer is too long, over TCP. `/etc/hosts` comes first. Not here: a cache, search domains
//! (trackers have whole names), and servers on this host, which would ask on by a way of their own: where the
//! system has only one of systemd's, those that it asks are asked.

mod files;
pub mod messages;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use messages::{Answer, Kind, query, read};

use super::{
    resolver::{LOOKUP_TIMEOUT, Lookup, MAX_ADDRESSES, Resolver, no_address},
    sockets::Binding,
};
use crate::base::limits::MAX_DNS_DATAGRAM;

/// A server that has not answered by then is asked again after the others.
const PATIENCE: Duration = Duration::from_secs(2);
/// Times each server is asked.
const ROUNDS: usize = 2;

/// Looks names up by one interface.
#[derive(Debug, Clone)]
pub struct BoundResolver {
    binding: Binding,
    /// Asked in place of those of the system.
    servers: Option<Arc<[SocketAddr]>>,
}

impl BoundResolver {
    /// Asks the servers of the system as `binding` says.
    pub const fn new(binding: Binding) -> Self {
        BoundResolver { binding, servers: None }
    }

    /// Asks these servers.
    pub fn asking(binding: Binding, servers: &[SocketAddr]) -> Self {
        BoundResolver { binding, servers: Some(servers.into()) }
    }

    async fn look_up(self, host: String) -> io::Result<Vec<IpAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![ip.to_canonical()]);
        }
        let known = files::hosts(&host);
        if !known.is_empty() {
            return Ok(known);
        }
        let servers = match &self.servers {
            Some(servers) => servers.to_vec(),
            None => files::servers(),
        };
        // Servers that know nothing of one family do not spoil the other.
        let of = |kind| timeout(LOOKUP_TIMEOUT, self.ask(&servers, &host, kind));
        let (v4, v6) = tokio::join!(of(Kind::V4), of(Kind::V6));
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        let (v4, v6) = (v4.unwrap_or_else(late), v6.unwrap_or_else(late));
        let mut found = match (v4, v6) {
            (Err(error), Err(_)) => return Err(error),
            (v4, v6) => [v6.unwrap_or_default(), v4.unwrap_or_default()].concat(),
        };
        // A family that leads nowhere by our interface comes last.
        found.sort_by_key(|ip| self.binding.source((*ip, 9).into()).is_none());
        found.truncate(MAX_ADDRESSES);
        if found.is_empty() { Err(no_address()) } else { Ok(found) }
    }

    /// The addresses of one family, by the first server that knows.
    async fn ask(&self, servers: &[SocketAddr], host: &str, kind: Kind) -> io::Result<Vec<IpAddr>> {
        let mut trouble = io::Error::other("no name server is known that another host runs");
        for server in servers.iter().cycle().take(ROUNDS * servers.len()) {
            let asked = timeout(PATIENCE, self.ask_one(*server, host, kind)).await;
            match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => trouble = io::Error::other("the name server does not answer that"),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                Err(error) => {
                    let text = format!("the name server {} cannot be asked: {error}", server.ip());
                    trouble = io::Error::new(error.kind(), text);
                }
            }
        }
        Err(trouble)
    }

    /// What one server says: `None` if it does not know what there is.
    async fn ask_one(
        &self,
        server: SocketAddr,
        host: &str,
        kind: Kind,
    ) -> io::Result<Option<Vec<IpAddr>>> {
        let socket = self.binding.udp_towards(server)?;
        let id = query_id()?;
        let query = query(id, host, kind)?;
        socket.send(&query).await?;
        let mut buf = vec![0; MAX_DNS_DATAGRAM];
        let answer = loop {
            let length = socket.recv(&mut buf).await?;
            if let Some(answer) = read(&buf[..length], id, host, kind) {
                break answer;
            }
        };
        match answer {
            Answer::Addresses(found) => Ok(Some(found)),
            Answer::Refused => Ok(None),
            Answer::Cut => self.ask_at_length(server, &query, id, host, kind).await,
        }
    }

    async fn ask_at_length(
        &self,
        server: SocketAddr,
        query: &[u8],
        id: u16,
        host: &str,
        kind: Kind,
    ) -> io::Result<Option<Vec<IpAddr>>> {
        let mut stream = self.binding.tcp_towards(server)?.connect(server).await?;
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        match read(&answer, id, host, kind) {
            Some(Answer::Addresses(found)) => Ok(Some(found)),
            _ => Ok(None),
        }
    }
}

impl Resolver for BoundResolver {
    fn lookup(&self, host: &str) -> Lookup {
        Box::pin(self.clone().look_up(host.to_owned()))
    }
}

/// A number that strangers do not guess.
#[expect(clippy::disallowed_methods, reason = "a driver draws it")]
fn query_id() -> io::Result<u16> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u16::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::{
        CLASS, Packet, PacketFlag, RCODE, ResourceRecord, TYPE,
        rdata::{self, RData},
    };
    use std::net::Ipv4Addr;
    use tokio::{net::TcpListener, net::UdpSocket, task::JoinHandle};

    /// What a server says of `big.example`: more than a datagram holds; of `t.example`: one address of each
    /// family; of `no.example`: that it does not exist; of anything else: that it does not want to say.
    fn answer(question: &[u8], may_cut: bool) -> Vec<u8> {
        let asked = Packet::parse(question).expect("a question");
        let mut reply = asked.clone().into_reply();
        let question = asked.questions[0].clone();
        let name = question.qname.clone();
        let mut add = |data| {
            reply.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, data));
        };
        match (&*name.to_string().to_ascii_lowercase(), question.qtype == TYPE::A.into()) {
            ("t.example", true) => add(RData::A(rdata::A { address: 0x7f00_0005 })),
            ("t.example", false) => add(RData::AAAA(rdata::AAAA { address: 1 })),
            ("big.example", true) if may_cut => reply.set_flags(PacketFlag::TRUNCATION),
            ("big.example", true) => {
                (0..200).for_each(|n| add(RData::A(rdata::A { address: 0x7f00_0100 + n })));
            }
            ("big.example", false) => {}
            ("no.example", _) => *reply.rcode_mut() = RCODE::NameError,
            _ => *reply.rcode_mut() = RCODE::Refused,
        }
        reply.build_bytes_vec().expect("a reply")
    }

    /// A server over UDP and TCP; what is no answer comes before each answer.
    async fn server() -> (SocketAddr, [JoinHandle<()>; 2]) {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
            let addr = socket.local_addr().expect("bound");
            if let Ok(listener) = TcpListener::bind(addr).await {
                break (socket, listener);
            }
        };
        let addr = socket.local_addr().expect("bound");
        let over_udp = tokio::spawn(async move {
            let mut buf = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut buf).await.expect("received");
                let good = answer(&buf[..length], true);
                let mut forged = good.clone();
                forged[0] ^= 1;
                for datagram in [&b"junk"[..], &forged, &good] {
                    socket.send_to(datagram, from).await.expect("sent");
                }
            }
        });
        let over_tcp = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let mut question = vec![0; stream.read_u16().await.expect("a length").into()];
                stream.read_exact(&mut question).await.expect("a question");
                let answer = answer(&question, false);
                stream.write_u16(answer.len() as u16).await.expect("sent");
                stream.write_all(&answer).await.expect("sent");
            }
        });
        (addr, [over_udp, over_tcp])
    }

    fn resolver(servers: &[SocketAddr]) -> BoundResolver {
        BoundResolver::asking(Binding::default(), servers)
    }

    #[tokio::test]
    async fn both_families_are_asked_for_and_long_answers_come_over_tcp() {
        let (addr, _tasks) = server().await;
        let mut found = resolver(&[addr]).lookup("T.example.").await.expect("known");
        found.sort();
        assert_eq!(found, ["127.0.0.5", "::1"].map(|ip| ip.parse::<IpAddr>().expect("an ip")));
        let found = resolver(&[addr]).lookup("big.example").await.expect("known");
        assert_eq!(found.len(), MAX_ADDRESSES);
        let error = resolver(&[addr]).lookup("no.example").await.expect_err("it does not exist");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn the_next_server_is_asked_when_one_is_of_no_use() {
        let (addr, _tasks) = server().await;
        let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let away = nobody.local_addr().expect("bound");
        drop(nobody);
        let found = resolver(&[away, addr]).lookup("t.example").await.expect("by the second");
        assert_eq!(found.len(), 2);
        let error = resolver(&[addr]).lookup("other.example").await.expect_err("it is refused");
        assert_eq!(error.to_string(), "the name server does not answer that");
        let error = resolver(&[away]).lookup("t.example").await.expect_err("nobody is there");
        assert!(error.to_string().contains("the name server 127.0.0.1 cannot be asked"), "{error}");
        assert!(resolver(&[]).lookup("t.example").await.is_err());
    }

    #[tokio::test]
    async fn nobody_is_asked_about_an_address_or_nonsense() {
        let found = resolver(&[]).lookup("::ffff:192.0.2.1").await.expect("no look-up");
        assert_eq!(found, [IpAddr::from([192, 0, 2, 1])]);
        let long = "x".repeat(64) + ".example";
        for nonsense in [&*long, "", "a..b"] {
            let error = resolver(&[]).lookup(nonsense).await.expect_err(nonsense);
            assert!(!error.to_string().is_empty());
        }
    }
}
