//! From a manifest to a paid notice that reporting knows.

use anyhow::{Result, ensure};

use super::manifests::{self, Municipality};
use super::mesh::{self, AMOUNT_CENTS, Services};
use super::pagopa::Pagopa;
use super::portal;
use super::steps::Steps;
use super::trace;
use crate::cli::Context;
use crate::installation::Installation;
use crate::report::Institution;
use crate::say;

/// What pagoPA would have given to the broker; the simulated one takes it.
const SUBSCRIPTION_KEY: &str = "demo-subscription-key-of-the-broker";
/// A service of the profile in `examples/platform.yaml`.
const SERVICE: &str = "TARI";

/// What the story leaves behind.
#[derive(Debug)]
pub(crate) struct Told {
    /// Who can be paid now.
    pub(crate) institution: Institution,
    /// Where citizens look.
    pub(crate) portal_url: String,
}

/// Does every step.
pub(crate) async fn tell(context: &Context, installation: &Installation, steps: &mut Steps) -> Result<Told> {
    let pagopa = Pagopa::new(&installation.world.addresses().simulator_url)?;
    let municipality = onboard(context, installation, &pagopa, steps).await?;
    let examples = context.root.join("examples");
    let province = async {
        let province = manifests::apply_province(&installation.world, &examples).await?;
        pagopa.register_beneficiary(&province).await.map(|()| province.fiscal_code)
    };
    let province = steps.run("kubectl apply examples/provincia.yaml", province).await?;
    let notice = pay(installation, &pagopa, (&municipality, &province), steps).await?;
    let page = steps.run("trace from the node's call to reporting", trace::page(&installation.zipkin.url)).await?;
    say::line(&format!("         {page}"));
    let portal_url = format!("http://{}:{}", municipality.hostname, installation.world.addresses().portal_port);
    let amount = format!("{},{:02}", AMOUNT_CENTS / 100, AMOUNT_CENTS % 100);
    let looked_up = portal::shows(&portal_url, &municipality.fiscal_code, &notice, &amount);
    steps.run("that debt on the municipality's portal", looked_up).await?;
    say::line(&format!("         {portal_url}/avviso?codice={notice}&ente={}", municipality.fiscal_code));
    let institution = Institution {
        fiscal_code: municipality.fiscal_code,
        station: municipality.station,
        broker: municipality.broker,
        notice,
    };
    Ok(Told { institution, portal_url })
}

/// From the manifest to `Payable=True`.
async fn onboard(
    context: &Context,
    installation: &Installation,
    pagopa: &Pagopa,
    steps: &mut Steps,
) -> Result<Municipality> {
    let (world, examples) = (&installation.world, context.root.join("examples"));
    let overlay = installation.dir.path().join("platform");
    let platform = async {
        manifests::apply_platform(world, &examples, &overlay, SUBSCRIPTION_KEY).await?;
        pagopa.register_broker(&manifests::broker(world).await?, SUBSCRIPTION_KEY).await
    };
    steps.run("kubectl apply examples/platform.yaml", platform).await?;
    steps.run("kubectl apply examples/comune.yaml", manifests::apply_municipality(world, &examples)).await?;
    let waits = steps.run("Payable=False, and who is waited for", manifests::waits_for(world)).await?;
    say::line(&format!("         {waits}"));
    show(installation).await?;
    let municipality = manifests::municipality(world).await?;
    let register = pagopa.register(&municipality, &world.addresses().node_mtls_urls);
    steps.run("station and account registered at the simulated pagoPA", register).await?;
    steps.run("Payable=True", manifests::payable(world, &municipality.name)).await?;
    show(installation).await?;
    Ok(municipality)
}

/// From a debt with given parts to a payment in reporting; answers with another notice that is left to be paid.
async fn pay(
    installation: &Installation,
    pagopa: &Pagopa,
    (municipality, province): (&Municipality, &str),
    steps: &mut Steps,
) -> Result<String> {
    let (addresses, dev) = (installation.world.addresses(), installation.world.mesh().identity("dev"));
    let services = Services::new(&addresses.tenant_grpc, &addresses.reporting_grpc, &dev)?;
    let institution = municipality.fiscal_code.as_str();
    let shared = services.create_debt(institution, SERVICE, "demo-1", mesh::tari_and_tefa(province));
    let notice = steps.run("debt created: 100.00 for the municipality, 20.00 for the province", shared).await?;
    say::line(&format!("         notice {notice}"));
    let paid = async {
        let receipt = pagopa.pay(institution, &notice).await?;
        pagopa.ensure_no_violations().await.map(|()| receipt)
    };
    let receipt = steps.run("verified, activated and paid at a touch point of the simulated pagoPA", paid).await?;
    steps.run("debt closed by the receipt", services.debt_paid(institution, &notice, &receipt)).await?;
    let reported = async {
        let payment = services.payment(institution, &notice).await?;
        ensure!(payment.amount_cents == AMOUNT_CENTS, "reporting says {} cents", payment.amount_cents);
        ensure!(payment.receipt_id == receipt, "reporting says receipt {}", payment.receipt_id);
        Ok(payment)
    };
    let payment = steps.run("payment read from reporting", reported).await?;
    let cents = payment.amount_cents;
    say::line(&format!(
        "         {}.{:02} euro by {} on {}",
        cents / 100,
        cents % 100,
        payment.psp_name,
        payment.paid_at
    ));
    steps.run("no case waits for anybody", services.no_cases()).await?;
    steps.run("another debt, left to be paid", services.create_debt(institution, SERVICE, "demo-2", Vec::new())).await
}

async fn show(installation: &Installation) -> Result<()> {
    for line in manifests::shown(&installation.world).await?.lines() {
        say::line(&format!("         {line}"));
    }
    Ok(())
}
