//! The contracts between Fiorino's parts: gRPC services and Kafka payloads, generated from `proto/fiorino/**.proto`.
//!
//! The comments in the `.proto` files are the documentation; [`topics`] declares what goes through Kafka.

pub mod topics;

/// What several areas share.
pub mod common {
    /// `fiorino.common.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.common.v1");
    }
}

/// What is odd, and how it is ended.
pub mod cases {
    /// `fiorino.cases.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.cases.v1");
    }
}

/// Configuration: apply, stream, read, read-back.
pub mod config {
    /// `fiorino.config.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.config.v1");
    }
}

/// Debt positions.
pub mod positions {
    /// `fiorino.positions.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.positions.v1");
    }
}

/// Notices as the node asks for them.
pub mod notices {
    /// `fiorino.notices.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.notices.v1");
    }
}

/// Receipts on their way from the inbox to the position.
pub mod receipts {
    /// `fiorino.receipts.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.receipts.v1");
    }
}

/// Payments: events and reading.
pub mod payments {
    /// `fiorino.payments.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.payments.v1");
    }
}

/// What outlives tenant's database, and how it is used after a restore.
pub mod restore {
    /// `fiorino.restore.v1`
    pub mod v1 {
        tonic::include_proto!("fiorino.restore.v1");
    }
}

/// The file descriptors of everything above, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fiorino.bin"));
