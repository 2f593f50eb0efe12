//! UPnP's Internet Gateway Device as text: the search for one (UPnP Device Architecture 1.1, section 1.3),
//! its description, and what its connection service is asked (WANIPConnection, WANPPPConnection).
//!
//! The only home of `roxmltree`, which knows no entities here and so expands nothing. Whatever a device
//! says leads to that device only.

use std::net::Ipv4Addr;

use roxmltree::{Document, Node, ParsingOptions};
use url::{Host, Url};

use super::Transport;
use crate::base::limits::{MAX_IGD_ATTRIBUTES, MAX_IGD_NODES, MAX_IGD_SERVICES};

/// Where devices listen for searches.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// And on which port.
pub const PORT: u16 = 1900;

/// What is looked for. Newer devices answer to the older names as well; some answer to the service alone.
const TARGETS: [&str; 3] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// Services that let peers in.
const SERVICES: [&str; 2] = [
    "urn:schemas-upnp-org:service:WANIPConnection:",
    "urn:schemas-upnp-org:service:WANPPPConnection:",
];

/// What mappings are called in the gateway's own pages.
const DESCRIPTION: &str = "downpour";
/// Somebody else has that port: `ConflictInMappingEntry`.
pub const CONFLICT: u16 = 718;
/// The device knows only mappings without an end: `OnlyPermanentLeasesSupported`.
pub const ONLY_PERMANENT: u16 = 725;

/// It did not work (`ActionFailed`): some devices say no more, whatever the reason.
pub const FAILED: u16 = 501;

/// The datagrams of a search.
pub fn searches() -> impl Iterator<Item = String> {
    TARGETS.into_iter().map(|target| {
        format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}:{PORT}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
             ST: {target}\r\n\r\n"
        )
    })
}

/// Where the device describes itself that answers a search from `from`; `None` if it is no answer, or
/// leads to somebody else.
pub fn location(datagram: &[u8], from: Ipv4Addr) -> Option<Url> {
    let mut lines = std::str::from_utf8(datagram).ok()?.split("\r\n");
    let status = lines.next()?;
    if !(status.starts_with("HTTP/1.") && status.split(' ').nth(1) == Some("200")) {
        return None;
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    let mut location = headers.filter(|(name, _)| name.trim().eq_ignore_ascii_case("location"));
    let url = Url::parse(location.next()?.1.trim()).ok()?;
    is_at(&url, from).then_some(url)
}

/// Whether `url` leads to the host with that address, and nowhere else.
fn is_at(url: &Url, ip: Ipv4Addr) -> bool {
    let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
    plain && url.host() == Some(Host::Ipv4(ip)) && url.port() != Some(0)
}

/// A service that lets peers in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    kind: String,
    /// Where it is asked, on the host that described it.
    pub control: Url,
}

/// The services that a device names in its description, which came from `location`.
pub fn services(description: &str, location: &Url) -> Vec<Service> {
    let Some(Host::Ipv4(ip)) = location.host() else { return Vec::new() };
    let Some(document) = parse(description) else { return Vec::new() };
    let root = document.root_element();
    let base = child(root, "URLBase").and_then(|base| location.join(base).ok());
    let base = base.filter(|base| is_at(base, ip)).unwrap_or_else(|| location.clone());
    let service = |node: Node<'_, '_>| {
        let (kind, control) = (child(node, "serviceType")?, child(node, "controlURL")?);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-:._".contains(c);
        let known = SERVICES.iter().any(|service| kind.starts_with(service));
        let control = base.join(control).ok().filter(|url| is_at(url, ip))?;
        (known && kind.chars().all(plain)).then(|| Service { kind: kind.to_owned(), control })
    };
    let nodes = root.descendants().filter(|node| node.has_tag_name_of("service"));
    nodes.filter_map(service).take(MAX_IGD_SERVICES).collect()
}

/// One thing that a service is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The `SOAPAction` header.
    pub header: String,
    /// The body.
    pub body: String,
}

/// One mapping at a device.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// For which bytes.
    pub transport: Transport,
    /// The port outside.
    pub outside: u16,
}

impl Service {
    /// Asks for the device's address outside, which [`external_address`] reads.
    pub fn get_external_address(&self) -> Action {
        self.action("GetExternalIPAddress", &[])
    }

    /// Asks for a mapping to `port` of `client`, for so many seconds; 0 is for ever.
    pub fn add(&self, entry: Entry, client: Ipv4Addr, port: u16, seconds: u64) -> Action {
        let arguments = [
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", entry.outside.to_string()),
            ("NewProtocol", name(entry.transport).to_owned()),
            ("NewInternalPort", port.to_string()),
            ("NewInternalClient", client.to_string()),
            ("NewEnabled", "1".to_owned()),
            ("NewPortMappingDescription", DESCRIPTION.to_owned()),
            ("NewLeaseDuration", seconds.to_string()),
        ];
        self.action("AddPortMapping", &arguments)
    }

    /// Asks for the end of a mapping.
    pub fn delete(&self, entry: Entry) -> Action {
        let arguments = [
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", entry.outside.to_string()),
            ("NewProtocol", name(entry.transport).to_owned()),
        ];
        self.action("DeletePortMapping", &arguments)
    }

    fn action(&self, name: &str, arguments: &[(&str, String)]) -> Action {
        let kind = &self.kind;
        let arguments: String =
            arguments.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n\
             <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{name} xmlns:u=\"{kind}\">{arguments}</u:{name}></s:Body></s:Envelope>\r\n"
        );
        Action { header: format!("\"{kind}#{name}\""), body }
    }
}

/// The address in a reply to [`Service::get_external_address`].
pub fn external_address(reply: &str) -> Option<Ipv4Addr> {
    let document = parse(reply)?;
    within(document.root_element(), "NewExternalIPAddress")?.parse().ok()
}

/// The code in a reply that says no (UPnP Device Architecture 1.1, section 3.1.2).
pub fn error_code(reply: &str) -> Option<u16> {
    let document = parse(reply)?;
    within(document.root_element(), "errorCode")?.parse().ok()
}

const fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    }
}

fn parse(text: &str) -> Option<Document<'_>> {
    let options = ParsingOptions { nodes_limit: MAX_IGD_NODES, ..ParsingOptions::default() };
    // Some devices begin with an empty line, or end with a null byte.
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{feff}');
    // The parser compares attributes and namespaces with one another.
    if text.bytes().filter(|&byte| byte == b'=').count() > MAX_IGD_ATTRIBUTES {
        return None;
    }
    Document::parse_with_options(text, options).ok()
}

/// The text of the child with that name. Namespaces are not looked at: many devices have them wrong.
fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let child = node.children().find(|child| child.has_tag_name_of(name))?;
    child.text().map(str::trim)
}

fn within<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = node.descendants().find(|node| node.has_tag_name_of(name))?;
    found.text().map(str::trim)
}

/// Names in whatever namespace.
trait Named {
    fn has_tag_name_of(&self, name: &str) -> bool;
}

impl Named for Node<'_, '_> {
    fn has_tag_name_of(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

    fn service(description: &str) -> Vec<String> {
        let location = Url::parse("http://192.168.1.1:5000/root/desc.xml").expect("valid");
        let found = services(description, &location);
        found.into_iter().map(|service| format!("{} {}", service.kind, service.control)).collect()
    }

    fn description(base: &str, kind: &str, control: &str) -> String {
        format!(
            "\n<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{base}<device>\
             <deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList>\
             <device><serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1\
             </serviceType><controlURL>/l3f</controlURL></service><service><serviceType>{kind}\
             </serviceType><controlURL> {control} </controlURL></service></serviceList></device>\
             </deviceList></device></root>\0"
        )
    }

    #[test]
    fn an_answer_leads_to_the_host_that_gave_it_and_to_no_other() {
        let answer = |location: &str| {
            let text = format!("HTTP/1.1 200 OK\r\nST: x\r\nLocation:{location}\r\n\r\n");
            self::location(text.as_bytes(), ROUTER).map(String::from)
        };
        let good = "http://192.168.1.1:5000/d.xml";
        assert_eq!(answer(good).as_deref(), Some(good));
        assert_eq!(answer(&format!(" {good} ")).as_deref(), Some(good));
        for bad in [
            "http://192.168.1.2:5000/d.xml",
            "http://router.example/d.xml",
            "http://9.9.9.9/",
            "https://192.168.1.1/",
            "http://192.168.1.1:0/",
            "http://user@192.168.1.1/",
            "file:///etc/passwd",
            "http://[::1]/",
            "",
        ] {
            assert_eq!(answer(bad), None, "{bad}");
        }
        let other = |text: &str| location(text.as_bytes(), ROUTER);
        assert_eq!(other(&format!("NOTIFY * HTTP/1.1\r\nLocation: {good}\r\n\r\n")), None);
        assert_eq!(other(&format!("HTTP/1.1 404 No\r\nLocation: {good}\r\n\r\n")), None);
        assert_eq!(location(&[0xff; 40], ROUTER), None);
    }

    #[test]
    fn a_description_names_its_services() {
        let kind = "urn:schemas-upnp-org:service:WANIPConnection:2";
        let found = |base: &str, control: &str| service(&description(base, kind, control));
        let at = |path: &str| [format!("{kind} http://192.168.1.1:{path}")];
        assert_eq!(found("", "/ctl"), at("5000/ctl"));
        assert_eq!(found("", "ctl?x=1"), at("5000/root/ctl?x=1"));
        assert_eq!(found("<URLBase>http://192.168.1.1:8080/b/</URLBase>", "c"), at("8080/b/c"));
        assert_eq!(found("<URLBase>http://9.9.9.9/</URLBase>", "/c"), at("5000/c"));
        assert_eq!(found("", "http://192.168.1.1:6000/c"), at("6000/c"));
        assert!(found("", "http://9.9.9.9/c").is_empty());
        assert!(found("", "//9.9.9.9/c").is_empty());
        let odd = |kind: &str| service(&description("", kind, "/ctl"));
        assert!(odd("urn:schemas-upnp-org:service:WANIPConnection:1\"\r\nX: y").is_empty());
        assert!(odd("urn:schemas-upnp-org:service:WANIPConnection:1&lt;").is_empty());
        assert!(odd("urn:other:service:WANIPConnection:1").is_empty());
    }

    #[test]
    fn what_is_no_description_is_passed_over() {
        for text in ["", "<", "<root>", "not XML", "<root/>", "<a:root/>"] {
            assert!(service(text).is_empty(), "{text}");
        }
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]><root>&c;</root>";
        assert!(service(bomb).is_empty() && parse(bomb).is_none());
        let deep = "<a>".repeat(100_000);
        assert!(parse(&deep).is_none());
        let wide = format!("<root>{}</root>", "<a/>".repeat(MAX_IGD_NODES as usize));
        assert!(parse(&wide).is_none(), "too many");
        // Each namespace of a child is compared with all of its parent.
        let spaces: String = (0..10_000).map(|n| format!(" xmlns:a{n}='u'")).collect();
        let quadratic = format!("<root{spaces}>{}</root>", "<a xmlns='x'/>".repeat(5_000));
        assert!(quadratic.len() <= 256 << 10 && parse(&quadratic).is_none());
    }

    #[test]
    fn actions_are_worded_and_replies_read() {
        let location = Url::parse("http://192.168.1.1/d.xml").expect("valid");
        let kind = "urn:schemas-upnp-org:service:WANPPPConnection:1";
        let found = services(&description("", kind, "/ctl"), &location);
        let entry = Entry { transport: Transport::Udp, outside: 7000 };
        let action = found[0].add(entry, Ipv4Addr::new(192, 168, 1, 7), 6881, 3600);
        assert_eq!(action.header, format!("\"{kind}#AddPortMapping\""));
        let arguments = "<NewRemoteHost></NewRemoteHost><NewExternalPort>7000</NewExternalPort>\
                         <NewProtocol>UDP</NewProtocol><NewInternalPort>6881</NewInternalPort>";
        assert!(action.body.contains(arguments), "{}", action.body);
        assert!(parse(&action.body).is_some());
        let reply = "<s:Envelope xmlns:s=\"e\"><s:Body><u:R xmlns:u=\"k\"><NewExternalIPAddress>\
                     9.8.7.6</NewExternalIPAddress></u:R></s:Body></s:Envelope>";
        assert_eq!(external_address(reply), Some(Ipv4Addr::new(9, 8, 7, 6)));
        let fault = "<s:Envelope xmlns:s=\"e\"><s:Body><s:Fault><detail><UPnPError xmlns=\"c\">\
                     <errorCode>718</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>";
        assert_eq!((error_code(fault), external_address(fault)), (Some(CONFLICT), None));
    }
}
