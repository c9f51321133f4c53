//! Tenant's database goes back in time; what must hold then is in `fiorino_chaos::restored`.

use fiorino_chaos::restored::goes_back;

/// Twenty blocks of one institution, ten of the others. `cargo xtask chaos` does it with ten times as many, and with faults.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_comes_twice_and_nothing_paid_is_asked_for_again() {
    Box::pin(goes_back(20_000, None, |line| println!("{line}"))).await.unwrap();
}
