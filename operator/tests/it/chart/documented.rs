//! The commands of docs/install.md, run as they stand, on a cluster of their own.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{Kubernetes, certs::Mesh, helm_bin, kubernetes_bin, workspace_root};
use tokio::process::Command;

#[tokio::test]
async fn installing_works_as_documented() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kubernetes = Kubernetes::start(&kubernetes_bin()?, dir.path().join("kubernetes"), false).await?;
    let mesh = Mesh::new()?;
    let (certs, operator) = (dir.path().join("certs"), mesh.identity("operator"));
    fs_err::create_dir(&certs)?;
    for (from, to) in [(operator.cert, "operator.crt"), (operator.key, "operator.key"), (operator.ca, "ca.crt")] {
        fs_err::copy(from, certs.join(to))?;
    }
    let path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", helm_bin()?.display(), kubernetes_bin()?.display());
    let shell = async |script: &str| {
        let child = Command::new("sh")
            .args(["-euc", script])
            .current_dir(workspace_root())
            .env("PATH", &path)
            .env("HOME", dir.path())
            .env("KUBECONFIG", &kubernetes.kubeconfig)
            .env("CERTS", &certs)
            .env("SUBSCRIPTION_KEY", "0123456789abcdef")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = child.await.context("failed to start sh")?;
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        ensure!(output.status.success(), "{script}\n{said}");
        anyhow::Ok(said)
    };
    let text = fs_err::read_to_string(workspace_root().join("docs/install.md"))?;
    let blocks: Vec<&str> = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 6, "{} blocks of commands", blocks.len());
    let mut said = String::new();
    for block in blocks {
        said += &shell(block).await?;
    }
    for expected in ["roccafiorina", "STATUS: deployed", "release \"fiorino\" uninstalled"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    // Nobody's configuration went with the charts.
    let left = shell("kubectl get creditorinstitutions,ibans --all-namespaces --output=name").await?;
    assert_eq!(left.lines().count(), 2, "{left}");
    let gone = shell("kubectl --namespace fiorino get deployments,roles,leases --output=name").await?;
    assert!(!gone.contains('/'), "{gone}");
    Ok(())
}
