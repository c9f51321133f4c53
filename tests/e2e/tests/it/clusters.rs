//! What happens to the cluster: it is watched as a whole, loses a namespace, is rebuilt, is restored from a backup.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use fiorino_test_support::{Kubernetes, eventually, kubernetes_bin, workspace_root};
use fiorino_world::Options;

use fiorino_e2e::town::{PATIENCE, Town};

/// API servers of a test's own, one after the other behind the same kubeconfig.
struct Clusters {
    current: Kubernetes,
    kubeconfig: PathBuf,
    dir: tempfile::TempDir,
}

// === impl Clusters ===

impl Clusters {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let current = Self::start(&dir.path().join("first")).await;
        let kubeconfig = dir.path().join("kubeconfig");
        fs_err::copy(&current.kubeconfig, &kubeconfig).unwrap();
        Self { current, kubeconfig, dir }
    }

    async fn start(dir: &Path) -> Kubernetes {
        Kubernetes::start(&kubernetes_bin().unwrap(), dir.to_owned(), false).await.unwrap()
    }

    fn of(&self, mut options: Options) -> Options {
        options.kubeconfig.clone_from(&self.kubeconfig);
        options
    }

    /// Another one, empty, takes the place of the first.
    async fn rebuild(&mut self) {
        self.current = Self::start(&self.dir.path().join("second")).await;
        fs_err::copy(&self.current.kubeconfig, &self.kubeconfig).unwrap();
    }
}

async fn delete(town: &Town, kind: &str, namespace: &str) {
    let args = ["delete", kind, "--all", "-n", namespace, "--timeout=60s"];
    town.world.kubectl(&args, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_cluster_mode_a_namespace_that_goes_takes_no_payment_with_it() {
    let town = Town::with(|mut options, _| {
        options.watch_namespaces.clear();
        options
    })
    .await;
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina")).await.unwrap();
    town.register().await;
    town.condition("Payable", "True").await;
    let args = ["get", "leases", "-n", town.platform(), "-o", "name"];
    assert!(
        town.world.kubectl(&args, "").await.unwrap().contains("fiorino-operator"),
        "it leads by the platform's Lease"
    );
    let notices = [town.create_debt("before").await, town.create_debt("second").await];

    // What the namespace controller does: the namespace takes nothing new, its objects are deleted kind by kind.
    let namespace = town.names.namespace.as_str();
    town.world.kubectl(&["delete", "namespace", namespace, "--wait=false"], "").await.unwrap();
    delete(&town, "ibans", namespace).await;
    delete(&town, "paymentservices", namespace).await;
    town.simulator("psp/pay", &town.notice(&notices[0])).await.unwrap();
    delete(&town, "creditorinstitutions", namespace).await;
    let finalized =
        format!("{{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {{\"name\": \"{namespace}\"}}}}");
    let raw = format!("/api/v1/namespaces/{namespace}/finalize");
    town.world.kubectl(&["replace", "--raw", &raw, "-f", "-"], &finalized).await.unwrap();
    assert!(!town.in_tenant::<bool>("select managed from institution").await);
    town.simulator("psp/pay", &town.notice(&notices[1])).await.unwrap();
    for notice in &notices {
        town.reported(notice).await;
    }

    // The same manifests again are other objects, which take it over.
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina")).await.unwrap();
    town.condition("Payable", "True").await;
    assert!(town.in_tenant::<bool>("select managed from institution").await);
    let third = town.create_debt("after").await;
    assert!(!notices.contains(&third), "numbers go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_cluster_adopts_everything_and_loses_nothing() {
    let mut clusters = Clusters::new().await;
    let mut town = Town::with(|options, _| clusters.of(options)).await;
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina")).await.unwrap();
    town.register().await;
    let before = town.condition("Payable", "True").await;
    assert_eq!(before["status"], "True");
    let uid = town.institution().await.unwrap()["metadata"]["uid"].clone();
    let notices = [town.create_debt("before").await, town.create_debt("open").await];
    town.simulator("psp/pay", &town.notice(&notices[0])).await.unwrap();
    town.reported(&notices[0]).await;
    // The Lease has counted: in the new cluster it begins again.
    town.world.restart("operator").await.unwrap();
    let counted = |counted: i64| {
        let town = &town;
        async move {
            eventually(PATIENCE, async || {
                let args = [
                    "get",
                    "lease",
                    "fiorino-operator",
                    "-n",
                    town.platform(),
                    "-o",
                    "jsonpath={.spec.leaseTransitions}",
                ];
                let transitions: i64 = town.world.kubectl(&args, "").await?.parse()?;
                ensure!(transitions == counted, "{transitions} transitions");
                Ok::<_, anyhow::Error>(())
            })
            .await
            .unwrap();
        }
    };
    counted(1).await;
    town.settled().await;
    let (fence, institution_id): (i64, i32) = (
        town.in_tenant("select fence from fence").await,
        town.in_tenant("select institution_id from institution").await,
    );

    town.world.process("operator").unwrap().stop().unwrap();
    clusters.rebuild().await;
    let definitions = workspace_root().join("charts/fiorino-crds/templates").display().to_string();
    town.world.kubectl(&["apply", "--server-side", "-f", &definitions], "").await.unwrap();
    town.world.kubectl(&["wait", "--for=condition=established", "--timeout=30s", "crd", "--all"], "").await.unwrap();
    town.world.kubectl(&["create", "namespace", town.platform()], "").await.unwrap();
    town.apply(&town.names.platform_manifest(town.platform(), &town.world.addresses().simulator_url)).await.unwrap();
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina")).await.unwrap();
    town.world.restart("operator").await.unwrap();

    town.condition("Payable", "True").await;
    assert_ne!(town.institution().await.unwrap()["metadata"]["uid"], uid, "it is another object");
    let args = ["get", "lease", "fiorino-operator", "-n", town.platform(), "-o", "jsonpath={.spec.leaseTransitions}"];
    assert_eq!(town.world.kubectl(&args, "").await.unwrap(), "0");
    assert!(
        town.in_tenant::<i64>("select fence from fence").await > fence,
        "not locked out by what the old Lease had counted"
    );
    assert_eq!(town.in_tenant::<i32>("select institution_id from institution").await, institution_id);
    assert_eq!(town.in_tenant::<i64>("select count(*) from notice").await, 2);
    town.simulator("psp/pay", &town.notice(&notices[1])).await.unwrap();
    town.reported(&notices[1]).await;
    assert!(!notices.contains(&town.create_debt("after").await), "numbers go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_changes_nothing_until_somebody_says_so() {
    let mut clusters = Clusters::new().await;
    let mut town = Town::with(|options, _| clusters.of(options)).await;
    let manifest = |name: &str, town: &Town| town.names.town_manifest(town.platform(), name);
    town.apply(&manifest("Comune di Roccafiorina", &town)).await.unwrap();
    town.register().await;
    town.condition("Payable", "True").await;
    let backup = clusters.dir.path().join("backup");
    town.world.process("operator").unwrap().stop().unwrap();
    clusters.current.backup(&backup).await.unwrap();
    town.world.restart("operator").await.unwrap();
    town.apply(&manifest("Comune di Roccafiorina Terme", &town)).await.unwrap();
    let changed = town.settled().await;

    town.world.process("operator").unwrap().stop().unwrap();
    clusters.current.restore(&backup).await.unwrap();
    town.world.restart("operator").await.unwrap();
    let stalled = town.condition("Stalled", "True").await;
    assert_eq!(stalled["reason"], "StaleGeneration", "{stalled}");
    let message = stalled["message"].as_str().unwrap();
    assert!(message.contains("generation 1 is older than 2") && message.contains("fiorino.dev/adopt"), "{message}");
    let restored = town.institution().await.unwrap();
    assert_eq!(restored["metadata"]["uid"], changed["metadata"]["uid"], "the same object, as it was");
    assert_eq!(town.in_tenant::<String>("select legal_name from institution").await, "Comune di Roccafiorina Terme");
    let notice = town.create_debt("meanwhile").await;
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();

    let annotate = async |annotation: &str| {
        let args = ["annotate", "creditorinstitution", "town", "-n", &town.names.namespace, "--overwrite", annotation];
        town.world.kubectl(&args, "").await.unwrap();
    };
    // The account came back older too.
    let args = ["annotate", "iban", "tesoreria", "-n", &town.names.namespace, "fiorino.dev/adopt=true"];
    town.world.kubectl(&args, "").await.unwrap();
    annotate("fiorino.dev/adopt=true").await;
    town.settled().await;
    let adopted: String = town.in_tenant("select legal_name from institution").await;
    assert_eq!(adopted, "Comune di Roccafiorina");

    // Once: the next restore is told again, though the annotation is still there.
    town.apply(&manifest("Comune di Roccafiorina Bagni", &town)).await.unwrap();
    town.settled().await;
    town.world.process("operator").unwrap().stop().unwrap();
    clusters.current.restore(&backup).await.unwrap();
    town.world.restart("operator").await.unwrap();
    town.condition("Stalled", "True").await;
    assert_eq!(town.in_tenant::<String>("select legal_name from institution").await, "Comune di Roccafiorina Bagni");
}
