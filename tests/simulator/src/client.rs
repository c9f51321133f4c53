//! Commands for a running simulator: each is one call of its control API.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verifies a notice.
    Verify(Notice),
    /// Activates a notice: prints its payment token.
    Activate(Activate),
    /// Tells the outcome of an activated payment.
    Outcome(Outcome),
    /// Verifies, activates and pays a notice.
    Pay(Activate),
    /// Registers something at pagoPA, or replaces it.
    #[command(subcommand)]
    Register(Register),
}

#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address of a running simulator.
    #[arg(long, env = "FIORINO_SIMULATOR_URL")]
    url: String,
}

#[derive(Debug, Args)]
pub(crate) struct Notice {
    #[command(flatten)]
    server: Server,
    /// Fiscal code of the institution.
    #[arg(long)]
    institution: String,
    /// 18 digits.
    #[arg(long = "notice")]
    number: String,
}

#[derive(Debug, Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    notice: Notice,
    /// Amount that is asked for, in cents.
    #[arg(long)]
    amount_cents: Option<u64>,
    /// `POSTAL`: by a postal slip; `PAGOPA`: at a touch point of pagoPA's own, such as its app.
    #[arg(long, value_parser = ["POSTAL", "PAGOPA"])]
    transfer_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Outcome {
    #[command(flatten)]
    server: Server,
    /// Payment token of the activation.
    #[arg(long)]
    token: String,
    /// Whether the citizen paid.
    #[arg(long = "outcome", value_enum, default_value = "ok")]
    told: Told,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Told {
    Ok,
    Ko,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// A broker with its subscription keys.
    Broker {
        #[command(flatten)]
        server: Server,
        /// 11 digits.
        #[arg(long)]
        broker: String,
        /// Key of the Backoffice external API; several may be given.
        #[arg(long = "key")]
        keys: Vec<String>,
    },
    /// A station with the addresses behind its URL.
    Station {
        #[command(flatten)]
        server: Server,
        /// `<broker fiscal code>_NN`.
        #[arg(long)]
        station: String,
        /// Where it listens; several may be given.
        #[arg(long = "station-url", required = true)]
        urls: Vec<String>,
        /// 1: paGetPayment, paSendRT; 2: paGetPaymentV2, paSendRTV2.
        #[arg(long, default_value_t = 2)]
        primitive_version: u8,
    },
    /// A creditor institution at a station.
    Institution {
        #[command(flatten)]
        server: Server,
        /// 11 digits.
        #[arg(long)]
        institution: String,
        /// As pagoPA shows it.
        #[arg(long)]
        name: String,
        /// `<broker fiscal code>_NN`.
        #[arg(long)]
        station: String,
        /// Two digits.
        #[arg(long)]
        segregation_code: String,
    },
    /// An account number of an institution.
    Account {
        #[command(flatten)]
        server: Server,
        /// 11 digits.
        #[arg(long)]
        institution: String,
        /// Without spaces.
        #[arg(long)]
        iban: String,
        /// RFC 3339: used from here on.
        #[arg(long)]
        valid_from: String,
    },
}

// === impl Command ===

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Verify(notice) => notice.server.call("psp/verify", &notice.body()).await,
            Self::Pay(asked) => asked.notice.server.call("psp/pay", &asked.body()).await,
            Self::Activate(asked) => asked.notice.server.call("psp/activate", &asked.body()).await,
            Self::Outcome(Outcome { server, token, told }) => {
                let outcome = match told {
                    Told::Ok => "OK",
                    Told::Ko => "KO",
                };
                server.call("psp/outcome", &json!({"paymentToken": token, "outcome": outcome})).await
            }
            Self::Register(what) => what.run().await,
        }
    }
}

// === impl Register ===

impl Register {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Broker { server, broker, keys } => {
                server.call("registry/brokers", &json!({"fiscalCode": broker, "subscriptionKeys": keys})).await
            }
            Self::Station { server, station, urls, primitive_version } => {
                let (broker, _) = station.split_once('_').context("--station must be <broker fiscal code>_NN")?;
                let body = json!({
                    "stationId": station, "brokerFiscalCode": broker, "urls": urls, "primitiveVersion": primitive_version,
                });
                server.call("registry/stations", &body).await
            }
            Self::Institution { server, institution, name, station, segregation_code } => {
                server.call("registry/institutions", &json!({"fiscalCode": institution, "companyName": name})).await?;
                let body = json!({
                    "fiscalCode": institution, "stationId": station, "segregationCode": segregation_code,
                });
                server.call("registry/associations", &body).await
            }
            Self::Account { server, institution, iban, valid_from } => {
                let body = json!({"fiscalCode": institution, "iban": iban, "validityDate": valid_from});
                server.call("registry/ibans", &body).await
            }
        }
    }
}

// === impl Activate ===

impl Activate {
    fn body(&self) -> Value {
        let mut body = self.notice.body();
        body["amountCents"] = json!(self.amount_cents);
        body["transferType"] = json!(self.transfer_type);
        body
    }
}

// === impl Notice ===

impl Notice {
    fn body(&self) -> Value {
        json!({"fiscalCode": self.institution, "noticeNumber": self.number})
    }
}

// === impl Server ===

impl Server {
    /// Prints the answer; a fault of the node is an error.
    #[expect(clippy::print_stdout, reason = "a command line answers on standard output")]
    async fn call(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        // Nobody has installed one yet, and a client wants one, also for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("{}/{path}", self.url.trim_end_matches('/'));
        let response =
            reqwest::Client::new().post(url).json(body).send().await.context("failed to reach the simulator")?;
        let status = response.status();
        let text = response.text().await.context("failed to read the answer")?;
        match serde_json::from_str::<Value>(&text) {
            Ok(answer) => println!("{answer:#}"),
            Err(_) if text.is_empty() => {}
            Err(_) => println!("{text}"),
        }
        anyhow::ensure!(status.is_success(), "the simulator answered {status}");
        Ok(())
    }
}
