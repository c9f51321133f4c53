//! What a client shows in the handshake, before anybody knows who it is, and the files that tell who may.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use fiorino_node_connector::{
    client_auth::{Accepted, NodeClients},
    fuzz,
};
use fiorino_rig::certs::{Authority, Leaf, Usage};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};

/// 2026-07-14T00:00:00Z
const NOW: Duration = Duration::from_hours(24 * 20_648);

pub(crate) const DICTIONARY: &[&str] = &[
    "pins:\n- name: a\n",
    "  spki: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
    "  notAfter: 2027-01-01T00:00:00Z\n",
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
    "*.platform.pagopa.it",
    "\u{6}\u{3}U\u{1d}\u{11}",
    "\u{6}\u{3}U\u{1d}%",
    "0\u{0}",
];

struct World {
    clients: NodeClients,
    known: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
}

/// As a leaf, as what follows a leaf, and as the files of who may call.
pub(crate) fn certificate(data: &[u8]) {
    static WORLD: OnceLock<World> = OnceLock::new();
    let World { clients, known, intermediate } = WORLD.get_or_init(World::make);
    let now = UnixTime::since_unix_epoch(NOW);
    let shown = CertificateDer::from(data);
    if shown != *known {
        let leaf = clients.check(&shown, std::slice::from_ref(intermediate), now);
        assert!(leaf.is_err() || fuzz::certificate(data).0.is_some(), "only a certificate is let in");
    }
    clients.check(known, std::slice::from_ref(&shown), now).expect("what follows a leaf takes nothing from it");
    let _facts = fuzz::certificate(data);
    for accepted in [
        Accepted { bundle: data, any_name: true, ..Accepted::default() },
        Accepted { pins: data, ..Accepted::default() },
    ] {
        let _parsed = NodeClients::parse(&accepted, Arc::new(rustls::crypto::ring::default_provider()));
    }
}

// === impl World ===

impl World {
    fn make() -> Self {
        let authority = Authority::new("Fuzzed").expect("an authority can be made");
        let names = ["node".to_owned()];
        let bundle = authority.pem();
        let accepted = Accepted { bundle: bundle.as_bytes(), names: &names, ..Accepted::default() };
        let clients = NodeClients::parse(&accepted, Arc::new(rustls::crypto::ring::default_provider()));
        let known = signed(&authority, "node", Usage::Client);
        let intermediate = der(&authority.pem());
        Self { clients: clients.expect("the bundle is right"), known, intermediate }
    }
}

fn signed(authority: &Authority, name: &str, usage: Usage) -> CertificateDer<'static> {
    let leaf = Leaf { common_name: name, organisation: Some("Fiorino"), names: &[name, "127.0.0.1"], usages: &[usage] };
    let (pem, _) = authority.issue(&leaf).expect("a leaf can be signed");
    der(&pem)
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is PEM")
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let authority = Authority::new("Seeds").expect("an authority can be made");
    let leaves = [("node", Usage::Client), ("*.platform.pagopa.it", Usage::Server)];
    let leaves = leaves.map(|(name, usage)| signed(&authority, name, usage).to_vec());
    let pins = "pins:\n- name: next\n  spki: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n  \
                notBefore: 2026-12-01T00:00:00Z\n  notAfter: 2028-02-28T00:00:00Z\n";
    leaves.into_iter().chain([authority.pem().into_bytes(), pins.as_bytes().to_vec()]).collect()
}
