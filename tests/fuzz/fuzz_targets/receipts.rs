#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| (fiorino_fuzz_targets::target("receipts").unwrap().run)(data));
