//! What browsers and the proxies before the portal send: a query, a host, whom the request came from.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
};

use fiorino_config_client::Projection as _;
use fiorino_front_office::{
    fuzz::{self, Read},
    site::{Directory, Sites},
};
use fiorino_proto::config::v1::{InstitutionSpec, LifecyclePhase, Resource, ResourceKind};
use http::{HeaderMap, HeaderValue, Uri};
use ipnet::IpNet;
use prost::Message as _;

use crate::heads;

const FORWARDED_FOR: &str = "x-forwarded-for";
const HOSTNAMES: [&str; 2] = ["roccafiorina.localhost", "paga.roccafiorina.example"];
/// In front of the portal: whoever has an address of it is believed.
const PROXIES: IpNet = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8);
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

pub(crate) const DICTIONARY: &[&str] = &[
    "codice=",
    "&ente=",
    "&conferma=312000000000471178",
    "312000000000471179",
    "80041780356",
    "PAGOPA%7C002%7C",
    "%7C",
    "%20",
    "%",
    "\nhost: roccafiorina.localhost",
    ":8080",
    "\nx-forwarded-for: ",
    "203.0.113.1",
    "10.9.9.9",
    "::ffff:10.1.2.3",
    "2001:db8::1",
    ", ",
    "unknown",
];

static SITES: LazyLock<Directory> = LazyLock::new(|| {
    let spec = InstitutionSpec {
        fiscal_code: "80041780356".into(),
        phase: LifecyclePhase::Live.into(),
        portal_hostnames: HOSTNAMES.map(str::to_owned).into(),
        ..InstitutionSpec::default()
    };
    let resource =
        Resource { kind: ResourceKind::Institution.into(), spec: spec.encode_to_vec().into(), ..Resource::default() };
    let site = Sites.parse(&resource).expect("the institution is right");
    Sites.view(&BTreeMap::from([(String::new(), Arc::new(site))]))
});

/// A query, and in the lines after it headers.
pub(crate) fn portal(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    if let Ok(uri) = Uri::try_from([b"/avviso?", &data[..end]].concat()) {
        query(&uri);
    }
    let headers = heads::headers(&data[end..]);
    host(&headers);
    visitor(&headers);
}

/// What was understood is understood again as it is written in the page, and a doubt can be dispelled.
fn query(uri: &Uri) {
    let read = |text: String| Uri::try_from(text).ok().map(|uri| fuzz::query(&uri));
    match fuzz::query(uri) {
        None | Some(Read::Blank) => {}
        Some(Read::Wrong(told)) => assert!((1..=2).contains(&told.len()), "{told:?}"),
        Some(Read::Doubtful(number)) => {
            // Told twice it is no query.
            let sure = read(format!("{uri}&conferma={number}")).flatten();
            let dispelled = |sure| matches!(sure, Read::Asked(asked, _) if asked == number);
            assert!(sure.is_none_or(dispelled), "{uri}: still in doubt");
        }
        Some(Read::Asked(number, institution)) => {
            let again = format!("/avviso?codice={number}&ente={institution}");
            let asked = Some(Read::Asked(number, institution));
            assert_eq!(read(format!("{again}&conferma={number}")), Some(asked.clone()));
            let unsure = if number.check_digits_ok() { asked } else { Some(Read::Doubtful(number)) };
            assert_eq!(read(again), Some(unsure));
        }
    }
}

fn host(headers: &HeaderMap) {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if SITES.of_host(host).is_some() {
        let host = host.to_ascii_lowercase();
        let port = HOSTNAMES.iter().find_map(|name| host.strip_prefix(name));
        let of_a_port = |byte: u8| matches!(byte, b'.' | b':' | b'0'..=b'9');
        assert!(port.is_some_and(|port| port.bytes().all(of_a_port)), "{host} is nobody's");
    }
}

/// Nobody can pass for somebody else: a stranger's word is nothing, and what he put before our proxy's word is not looked at.
fn visitor(headers: &HeaderMap) {
    let visitor = |peer, headers: &HeaderMap| fuzz::visitor(vec![PROXIES], peer, headers);
    assert_eq!(visitor(STRANGER, headers), STRANGER);
    let told = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let mut told = told.flat_map(|line| line.split(',')).filter_map(|hop| hop.trim().parse::<IpAddr>().ok());
    let found = visitor(PROXY, headers);
    assert!(found == PROXY || told.any(|hop| hop.to_canonical() == found), "{found} was never told");
    if !PROXIES.contains(&found) {
        let mut forged = HeaderMap::new();
        forged.append(FORWARDED_FOR, HeaderValue::from_static("192.0.2.1, 10.0.0.1"));
        for line in headers.get_all(FORWARDED_FOR) {
            forged.append(FORWARDED_FOR, line.clone());
        }
        assert_eq!(visitor(PROXY, &forged), found, "a forged line counts");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let requests = [
        "codice=312000000000471179&ente=80041780356\nhost: roccafiorina.localhost:8080\nx-forwarded-for: 203.0.113.1",
        "codice=3120+0000+0000+4711+79&ente=800.417.80356\nhost: Paga.Roccafiorina.EXAMPLE.\n\
         x-forwarded-for: 1.1.1.1, 203.0.113.1, 10.9.9.9",
        "codice=PAGOPA%7C002%7C312000000000471179%7C80041780356%7C12000\nhost: altro.localhost\n\
         x-forwarded-for: ::ffff:203.0.113.1\nx-forwarded-for: fd00::1",
        "codice=312000000000471178&ente=80041780356\nhost: [::1]:8080\nx-forwarded-for: unknown",
        "codice=312000000000471178&ente=80041780356&conferma=312000000000471178\nx-forwarded-for: 10.4.4.4",
        "codice=RSSMRA80A01H501U&ente=",
    ];
    requests.map(|request| request.as_bytes().to_vec()).into()
}
