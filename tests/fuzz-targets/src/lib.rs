//! Every reader of bytes from outside, as a function of bytes that must neither panic nor contradict itself (docs/fuzzing.md).
//!
//! ```text
//!  seeds (samples, messages made here) --+-- tests/it: seeded mutator, a bounded number of inputs, stable compiler
//!                                        +-- tests/fuzz: cargo-fuzz, coverage and sanitizer, as long as one likes
//! ```

#[cfg(feature = "services")]
mod certificates;
#[cfg(feature = "services")]
mod configuration;
#[cfg(feature = "services")]
mod debts;
mod domain;
#[cfg(feature = "services")]
mod events;
#[cfg(feature = "services")]
mod heads;
#[cfg(feature = "services")]
pub mod manifests;
mod messages;
pub mod mutate;
#[cfg(feature = "services")]
mod portal;

/// A reader, and what is known to be read.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name in tests/fuzz too.
    pub name: &'static str,
    /// Panics when the reader breaks a promise.
    pub run: fn(&[u8]),
    /// Inputs that reach far: mutated, they reach further.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Pieces that readers look for.
    pub dictionary: &'static [&'static str],
    /// Mutated inputs in the tests: some seconds in all.
    pub iterations: u32,
}

/// Every target; without the feature `services` those that build in a minute.
pub const ALL: &[Target] = &[
    Target {
        name: "message",
        run: messages::message,
        seeds: messages::seeds,
        dictionary: messages::DICTIONARY,
        iterations: 20_000,
    },
    Target {
        name: "receipt",
        run: messages::receipt,
        seeds: messages::receipts,
        dictionary: messages::DICTIONARY,
        iterations: 15_000,
    },
    Target {
        name: "codes",
        run: domain::codes,
        seeds: domain::seeds,
        dictionary: domain::DICTIONARY,
        iterations: 150_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "registry",
        run: heads::registry,
        seeds: heads::registry_seeds,
        dictionary: heads::REGISTRY,
        iterations: 60_000,
    },
    #[cfg(feature = "services")]
    Target { name: "head", run: heads::head, seeds: heads::head_seeds, dictionary: heads::HEADS, iterations: 20_000 },
    #[cfg(feature = "services")]
    Target {
        name: "event",
        run: events::event,
        seeds: events::seeds,
        dictionary: events::DICTIONARY,
        iterations: 20_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "bundle",
        run: configuration::bundle,
        seeds: configuration::bundle_seeds,
        dictionary: configuration::DICTIONARY,
        iterations: 40_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "config_stream",
        run: configuration::stream,
        seeds: configuration::stream_seeds,
        dictionary: configuration::DICTIONARY,
        iterations: 40_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "certificate",
        run: certificates::certificate,
        seeds: certificates::seeds,
        dictionary: certificates::DICTIONARY,
        iterations: 40_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "portal",
        run: portal::portal,
        seeds: portal::seeds,
        dictionary: portal::DICTIONARY,
        iterations: 40_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "positions",
        run: debts::positions,
        seeds: debts::position_seeds,
        dictionary: debts::DICTIONARY,
        iterations: 40_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "receipts",
        run: debts::receipts,
        seeds: debts::receipt_seeds,
        dictionary: debts::DICTIONARY,
        iterations: 20_000,
    },
    #[cfg(feature = "services")]
    Target {
        name: "manifests",
        run: manifests::manifests,
        seeds: manifests::seeds,
        dictionary: manifests::DICTIONARY,
        iterations: 5_000,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
