//! Many institutions at once, on the platform of the examples: station `valdarda-01`, profile `comune-standard`.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_rig::{Stopwatch, eventually};

use crate::World;

/// How many kubectl work side by side: one alone is slower than the operator.
const HANDS: usize = 4;
/// Longer than any machine needs; an institution that is stuck is told.
const PATIENCE: Duration = Duration::from_mins(5);

/// Institutions that appear together; each has a namespace and an account.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// Label of every institution, and the beginning of the names of their namespaces.
    pub name: String,
    /// How many.
    pub size: u32,
    /// Their fiscal codes: ten digits, counted up; the eleventh is the right one.
    pub first_code: u64,
}

/// How long it took, from the first manifest on.
#[derive(Debug, Clone, Copy)]
pub struct Appeared {
    /// Until kubectl had brought the last manifest.
    pub applied: Duration,
    /// Until the last institution was Ready.
    pub ready: Duration,
}

// === impl Crowd ===

impl Crowd {
    /// Applies all of them and waits until each is Ready.
    ///
    /// # Errors
    /// What kubectl complains about, or how many are not Ready.
    pub async fn appear(&self, world: &World) -> Result<Appeared> {
        let started = Stopwatch::start();
        let all: Vec<u32> = (0..self.size).collect();
        let hands = all.chunks(all.len().div_ceil(HANDS).max(1)).map(|some| self.manifests(world, some));
        let hands: Vec<String> = hands.collect::<Result<_>>()?;
        let args = ["create", "--validate=false", "--filename", "-"];
        let bring = |hand: usize| {
            let manifests = hands.get(hand).map(String::as_str);
            async move {
                match manifests {
                    Some(manifests) => world.kubectl(&args, manifests).await.map(drop),
                    None => Ok(()),
                }
            }
        };
        tokio::try_join!(bring(0), bring(1), bring(2), bring(3))?;
        let applied = started.elapsed();
        self.ready(world).await?;
        Ok(Appeared { applied, ready: started.elapsed() })
    }

    async fn ready(&self, world: &World) -> Result<()> {
        let label = format!("--selector=crowd={}", self.name);
        let shown = "--output=jsonpath={range .items[*]}{.metadata.namespace} {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        eventually(PATIENCE, async || {
            let listed = world.kubectl(&["get", "creditorinstitutions", "--all-namespaces", &label, shown], "").await?;
            let (ready, others): (Vec<&str>, Vec<&str>) = listed.lines().partition(|line| line.ends_with(" True"));
            ensure!(ready.len() == self.size as usize, "{} are Ready, not so {:?}", ready.len(), others.first());
            anyhow::Ok(())
        })
        .await
        .with_context(|| format!("not all of {} institutions became Ready", self.size))
    }

    fn manifests(&self, world: &World, numbers: &[u32]) -> Result<String> {
        let (name, platform) = (&self.name, &world.options().platform);
        let mut text = String::new();
        for number in numbers {
            let fiscal_code = fiscal_code(self.first_code + u64::from(*number));
            write!(
                text,
                "apiVersion: v1
kind: Namespace
metadata: {{name: {name}-{number}}}
---
apiVersion: fiorino.dev/v1alpha1
kind: Iban
metadata: {{name: tesoreria, namespace: {name}-{number}}}
spec:
  holder: Comune numero {number}
  numbers: [{{validFrom: 2026-01-01, iban: IT70C0998877665000000104233}}]
---
apiVersion: fiorino.dev/v1alpha1
kind: CreditorInstitution
metadata: {{name: town, namespace: {name}-{number}, labels: {{crowd: {name}}}}}
spec:
  fiscalCode: \"{fiscal_code}\"
  legalName: Comune numero {number}
  kind: Municipality
  adhesion: {{date: 2026-10-05}}
  associations: [{{stationRef: {{namespace: {platform}, name: valdarda-01}}, segregationCode: \"12\"}}]
  profiles: [{{name: comune-standard, revision: 1}}]
---
"
            )?;
        }
        Ok(text)
    }
}

/// Eleven digits, the last of which is right (DM 23 December 1976, annex: Luhn over ten digits).
fn fiscal_code(number: u64) -> String {
    let digits = format!("{:010}", number % 10_000_000_000);
    let sum: u32 = digits
        .chars()
        .filter_map(|digit| digit.to_digit(10))
        .enumerate()
        .map(|(at, digit)| if at % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comune di Milano, INPS.
    #[test]
    fn the_eleventh_digit_is_right() {
        assert_eq!(fiscal_code(119_925_015), "01199250158");
        assert_eq!(fiscal_code(8_007_875_058), "80078750587");
    }
}
