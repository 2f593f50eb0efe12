//! What gateways and others on the local network say: what is believed leads to whoever said it.

#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use downpour::{
    base::limits,
    gateway::{LIFETIME, Transport, igd, nat_pmp, pcp, pinhole::GatewayV6, routes::Routes},
};
use libfuzzer_sys::fuzz_target;
use url::Host;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

fuzz_target!(|data: &[u8]| {
    let (transport, port, outside, lifetime) = (Transport::Tcp, 6881, 6881, LIFETIME);
    let (client, nonce) = (Ipv4Addr::new(192, 168, 1, 7), *b"twelve bytes");
    for client in [client.into(), Ipv6Addr::LOCALHOST.into()] {
        let request = pcp::Request { transport, client, port, outside, lifetime, nonce };
        if let Some(Ok((granted, _))) = request.read(data) {
            assert!(granted.port != 0 && !granted.lifetime.is_zero());
        }
    }
    let request = nat_pmp::Request { transport, port, outside, lifetime };
    if let Some(Ok(granted)) = request.read(data) {
        assert!(granted.port != 0 && !granted.lifetime.is_zero());
    }
    let _ = nat_pmp::read_address(data);
    if let Some(url) = igd::location(data, ROUTER) {
        assert_eq!(url.host(), Some(Host::Ipv4(ROUTER)));
    }
    let text = String::from_utf8_lossy(data);
    let _ = (igd::external_address(&text), igd::error_code(&text));
    let _ = (Routes::parse(&text), GatewayV6::parse(&text));
    let location = "http://192.168.1.1:5000/desc.xml".parse().expect("valid");
    let services = igd::services(&text, &location);
    assert!(services.len() <= limits::MAX_IGD_SERVICES);
    for service in services {
        assert_eq!(service.control.host(), Some(Host::Ipv4(ROUTER)));
        assert_eq!(service.get_external_address().header.lines().count(), 1);
    }
});
