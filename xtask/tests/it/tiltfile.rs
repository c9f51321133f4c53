//! The Tiltfile, evaluated with stubs for the calls of Tilt.

use std::path::Path;
use std::process::{Command, Output};

use fiorino_rig::workspace_root;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Resource {
    name: String,
    cmd: String,
    serve_cmd: String,
    deps: Vec<String>,
    #[serde(rename = "resource_deps")]
    after: Vec<String>,
}

fn evaluate(tiltfile: &Path) -> Output {
    Command::new("go")
        .args(["run", "-mod=readonly", "."])
        .arg(tiltfile)
        .current_dir(workspace_root().join("xtask/tools/tiltfile"))
        .output()
        .unwrap()
}

fn resources() -> Vec<Resource> {
    let output = evaluate(&workspace_root().join("Tiltfile").canonicalize().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn operator_and_services_are_built_from_their_sources_and_started_after_the_servers() {
    let resources = resources();
    let names: Vec<&str> = resources.iter().map(|resource| resource.name.as_str()).collect();
    for (name, directory) in [
        ("tenant", "services/tenant"),
        ("node-connector-1", "services/node-connector"),
        ("reporting", "services/reporting"),
        ("front-office", "services/front-office"),
        ("operator", "operator"),
    ] {
        let resource = resources.iter().find(|resource| resource.name == name).unwrap();
        // What is built first; a service's database is then brought up to date.
        let (build, migrate) = resource.cmd.split_once(" && ").unwrap_or((&resource.cmd, ""));
        assert_eq!(migrate.ends_with("-migrate.sh"), name != "operator", "{name}: {migrate}");
        let package = build.rsplit(' ').next().unwrap();
        let manifest = fs_err::read_to_string(workspace_root().join(directory).join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{package}\"\n")), "{package} is not in {directory}");
        assert!(resource.serve_cmd.ends_with(&format!("/{name}.sh")), "{}", resource.serve_cmd);
        assert!(resource.after.contains(&"servers".to_owned()), "{name} would start before its servers");
        assert!(resource.deps.contains(&directory.to_owned()), "{name} is not rebuilt when it changes");
    }
    for resource in &resources {
        assert!(resource.after.iter().all(|other| names.contains(&other.as_str())), "{resource:?}");
        for path in &resource.deps {
            assert!(workspace_root().join(path).exists(), "{path} of {} does not exist", resource.name);
        }
    }
}

#[test]
fn a_call_that_tilt_does_not_have_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("Tiltfile");
    fs_err::write(&broken, "local_resource('a', serve_command='true')\n").unwrap();
    let output = evaluate(&broken);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("serve_command"));
}
