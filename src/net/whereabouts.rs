//! Where we are in the network, as far as the system's routes say, and when that changes: a cable is in again, it is
//! another network, or the machine has slept.
//!
//! Looks, and sends nothing. What follows from it is decided by whoever waits: see [`Whereabouts::moved`].

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::sleep;

use super::sockets::Binding;

/// How often we look: a look is two look-ups of routes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So long a sleep is noticed: trackers, routers and peers have forgotten us by and by.
const LONG_SLEEP: Duration = Duration::from_secs(60);
/// After news nothing is news for so long: a network that comes and goes must not make us call everybody each time.
const REST: Duration = Duration::from_secs(30);

/// From where packets would leave, and how long the machine has slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sight {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    asleep: Duration,
}

impl Sight {
    fn of(binding: &Binding) -> Self {
        Sight { v4: binding.source_v4(), v6: binding.source_v6(), asleep: asleep() }
    }

    /// Whether others may be reached now who could not be, or believe us where we were.
    fn is_news_after(self, last: Sight) -> bool {
        let came = |now: Option<IpAddr>, then| now.is_some() && now != then;
        let slept = self.asleep.saturating_sub(last.asleep) >= LONG_SLEEP;
        let somewhere = self.v4.is_some() || self.v6.is_some();
        somewhere && (slept || came(self.v4, last.v4) || came(self.v6, last.v6))
    }
}

/// Watches where we are.
#[derive(Debug)]
pub struct Whereabouts {
    binding: Binding,
    last: Sight,
    /// Something was told already.
    told: bool,
}

impl Whereabouts {
    /// As `binding` leads.
    pub fn new(binding: Binding) -> Self {
        let last = Sight::of(&binding);
        Whereabouts { binding, last, told: false }
    }

    /// Waits until we are somewhere else, or somewhere again, or awake again.
    pub async fn moved(&mut self) {
        if self.told {
            sleep(REST).await;
        }
        loop {
            sleep(LOOK_EVERY).await;
            let now = Sight::of(&self.binding);
            let last = std::mem::replace(&mut self.last, now);
            if now.is_news_after(last) {
                self.told = true;
                return;
            }
        }
    }
}

/// Whether no packet could leave for anywhere outside, nor for `addr`.
pub fn is_cut_off(binding: &Binding, addr: SocketAddr) -> bool {
    let to = |addr| binding.source(addr).filter(|ip| !ip.is_unspecified());
    to(addr).is_none() && binding.source_v4().is_none() && binding.source_v6().is_none()
}

/// How long the machine has slept since it was started.
#[cfg(target_os = "linux")]
fn asleep() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let of = |clock| {
        let time = clock_gettime(clock);
        Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    of(ClockId::Boottime).saturating_sub(of(ClockId::Monotonic))
}

/// Elsewhere the clock that timers go by may count it; a network that changes meanwhile is noticed all the same.
#[cfg(not(target_os = "linux"))]
const fn asleep() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_network_or_a_long_sleep_is_news_and_no_network_is_none() {
        let ip = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let here = Sight { v4: ip(1), ..Sight::default() };
        let nowhere = Sight::default();
        let slept = |sight: Sight, secs| Sight { asleep: Duration::from_secs(secs), ..sight };
        for (last, now, news) in [
            (here, here, false),
            (here, nowhere, false),
            (nowhere, here, true),
            (here, Sight { v4: ip(2), ..here }, true),
            (here, Sight { v6: ip(3), ..here }, true),
            (Sight { v6: ip(3), ..here }, here, false),
            (here, slept(here, 59), false),
            (here, slept(here, 60), true),
            (here, slept(nowhere, 3_600), false),
        ] {
            assert_eq!(now.is_news_after(last), news, "{last:?}, {now:?}");
        }
    }
}
