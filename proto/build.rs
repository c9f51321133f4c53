//! Compiles the `.proto` files with protox, so that nobody has to install protoc.

use std::{env, fs, path::PathBuf};

use prost::Message;

const PROTOS: &[&str] = &[
    "fiorino/cases/v1/cases.proto",
    "fiorino/common/v1/case.proto",
    "fiorino/config/v1/apply.proto",
    "fiorino/config/v1/read.proto",
    "fiorino/config/v1/readback.proto",
    "fiorino/config/v1/resources.proto",
    "fiorino/config/v1/stream.proto",
    "fiorino/notices/v1/display.proto",
    "fiorino/notices/v1/notices.proto",
    "fiorino/payments/v1/again.proto",
    "fiorino/payments/v1/parked.proto",
    "fiorino/payments/v1/payments.proto",
    "fiorino/positions/v1/positions.proto",
    "fiorino/receipts/v1/receipts.proto",
    "fiorino/restore/v1/restore.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=fiorino");
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("fiorino.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
