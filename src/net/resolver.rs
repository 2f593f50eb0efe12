//! Names to addresses: the one place where a host name is looked up.
//!
//! Everything that dials a name is given a [`Resolver`], so that tests need no name service, an interface
//! to which everything is bound carries look-ups as well, and a proxy can look names up at its own end.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    io,
    net::{IpAddr, ToSocketAddrs as _},
    pin::Pin,
    time::Duration,
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// Longest wait for a name service: it has answered or given up itself by then.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Names that are looked up at a time: each holds a thread until the system gives up, even if nobody waits.
const AT_ONCE: usize = 128;
/// Addresses of one name that are tried; more are a waste of time.
pub const MAX_ADDRESSES: usize = 16;

/// A look-up under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Something that knows the addresses of names.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of `host`, a name or an address in text form, in the order in which they are
    /// to be tried. Never an empty list: no address is an error.
    fn lookup(&self, host: &str) -> Lookup;
}

/// The name service of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup(&self, host: &str) -> Lookup {
        let host = host.to_owned();
        Box::pin(async move {
            // An address needs nobody.
            if let Ok(ip) = host.parse::<IpAddr>() {
                return Ok(vec![ip.to_canonical()]);
            }
            let found = look_up(host).await?;
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.into_iter().map(|ip| ip.to_canonical()) {
                if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() { Err(no_address()) } else { Ok(addresses) }
        })
    }
}

/// Asks the system.
async fn look_up(host: String) -> io::Result<Vec<IpAddr>> {
    static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);
    blocking(&ROOM, move || {
        (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|addr| addr.ip()).collect())
    })
    .await
}

/// Does `work` where it may block; its room is taken until it is done, however long anybody waits.
async fn blocking<R: Send + 'static>(
    room: &'static Semaphore,
    work: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let room = room.acquire().await.map_err(io::Error::other)?;
    let done = spawn_blocking(move || {
        let _room = room;
        work()
    });
    let done = timeout(LOOKUP_TIMEOUT, done).await.map_err(|_| io::ErrorKind::TimedOut)?;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// For who leaves by a proxy: names are looked up at its other end, and here only read if they are addresses.
#[derive(Debug, Clone, Copy)]
pub struct LeftToProxy;

impl Resolver for LeftToProxy {
    fn lookup(&self, host: &str) -> Lookup {
        let left =
            || io::Error::other("names are left to the proxy, which does not tell their addresses");
        let found = host.parse::<IpAddr>().map(|ip| vec![ip.to_canonical()]);
        Box::pin(std::future::ready(found.map_err(|_| left())))
    }
}

/// A fixed table of names, for tests: whatever is not in it does not exist.
#[derive(Debug, Clone, Default)]
pub struct FixedResolver {
    names: BTreeMap<String, Vec<IpAddr>>,
}

impl FixedResolver {
    /// A resolver that knows exactly these names.
    pub fn new<const N: usize>(names: [(&str, &[IpAddr]); N]) -> Self {
        let names = names.map(|(name, addresses)| (name.to_owned(), addresses.to_vec()));
        FixedResolver { names: names.into() }
    }
}

impl Resolver for FixedResolver {
    fn lookup(&self, host: &str) -> Lookup {
        let literal = host.parse().ok().map(|ip| vec![ip]);
        let found = literal.or_else(|| self.names.get(host).cloned()).filter(|a| !a.is_empty());
        Box::pin(std::future::ready(found.ok_or_else(no_address)))
    }
}

pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::poll_fn,
        net::{Ipv4Addr, Ipv6Addr},
        sync::{Arc, Mutex, mpsc},
        task::Poll,
    };
    use tokio::task::unconstrained;

    #[tokio::test]
    async fn addresses_in_text_form_need_no_name_service() {
        let v6 = SystemResolver.lookup("::1").await.expect("an address");
        assert_eq!(v6, [IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        let v4 = SystemResolver.lookup("::ffff:127.0.0.1").await.expect("an address");
        assert_eq!(v4, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    /// Names that were never answered held a thread each, however many there were.
    #[tokio::test]
    async fn who_gives_up_leaves_the_room_taken_until_the_system_has_answered() {
        static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);
        let (answer, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        for _ in 0..AT_ONCE {
            let waits = waits.clone();
            let silent = blocking(&ROOM, move || {
                let _ = waits.lock().expect("nobody panics").recv();
                Ok(())
            });
            // Far enough to have begun.
            let mut silent = Box::pin(unconstrained(silent));
            assert!(poll_fn(|cx| Poll::Ready(silent.as_mut().poll(cx).is_pending())).await);
        }
        assert_eq!(ROOM.available_permits(), 0);
        let mut next = Box::pin(unconstrained(blocking(&ROOM, || Ok(3))));
        assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
        assert_eq!(ROOM.available_permits(), 0, "it waits");
        drop(answer);
        assert_eq!(next.await.expect("there is room"), 3);
    }

    #[tokio::test]
    async fn what_is_left_to_a_proxy_is_not_looked_up() {
        assert!(LeftToProxy.lookup("localhost").await.is_err());
        assert_eq!(LeftToProxy.lookup("::1").await.expect("an address").len(), 1);
    }

    #[tokio::test]
    async fn a_fixed_table_knows_nothing_else() {
        let table = FixedResolver::new([("t.example", &[IpAddr::V4(Ipv4Addr::LOCALHOST)])]);
        assert_eq!(table.lookup("t.example").await.expect("known").len(), 1);
        assert_eq!(table.lookup("127.0.0.2").await.expect("literal").len(), 1);
        assert!(table.lookup("localhost").await.is_err());
    }
}
