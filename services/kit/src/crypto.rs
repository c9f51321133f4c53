//! The one rustls provider of the process.

/// Installs ring as rustls' provider: the first call in every `main` and in every test that speaks TLS.
///
/// Two providers in the tree mean that rustls can pick none (deny.toml). A second call changes nothing.
pub fn install_ring() {
    // An error only says that a provider is there already, and nobody else installs one.
    drop(rustls::crypto::ring::default_provider().install_default());
}
