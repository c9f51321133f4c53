//! Packages of the system. Debian-like hosts install them; others are told what to install.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use fiorino_rig::{chromium, postgres_bin};

use super::{Purpose, announce};
use crate::cache::Cache;
use crate::run::Run;
use crate::say;

const STEP: &str = "system packages";
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// Something that must be on the host.
struct Need {
    package: &'static str,
    why: &'static str,
    purpose: Option<Purpose>,
    present: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need { package: "postgresql", why: "the services' databases", purpose: None, present: || postgres_bin().is_some() },
    Need {
        package: "default-jre-headless",
        why: "Kafka and the trace viewer run on it",
        purpose: None,
        present: || on_path("java"),
    },
    Need { package: "maven", why: "fetches Kafka and the trace viewer", purpose: None, present: || on_path("mvn") },
    Need { package: "make", why: "builds librdkafka", purpose: None, present: || on_path("make") },
    Need { package: "g++", why: "builds librdkafka", purpose: None, present: || on_path("g++") },
    Need {
        package: "util-linux",
        why: "setpriv ends child processes with their parent",
        purpose: None,
        present: || on_path("setpriv"),
    },
    Need {
        package: "pkg-config",
        why: "finds libxml2, which judges our messages by the official schema",
        purpose: Some(Purpose::Test),
        present: || on_path("pkg-config"),
    },
    Need {
        package: "libxml2-dev",
        why: "judges our messages by the official schema",
        purpose: Some(Purpose::Test),
        present: || Path::new("/usr/include/libxml2/libxml/parser.h").exists(),
    },
    Need {
        package: "libclang-dev",
        why: "makes the bindings to libxml2",
        purpose: Some(Purpose::Test),
        present: has_libclang,
    },
    Need {
        package: "python3-venv",
        why: "holds the SOAP client that tests ours",
        purpose: Some(Purpose::Test),
        present: || on_path("python3") && python_has_venv(),
    },
    Need {
        package: "nodejs",
        why: "makes the portal's style, and drives a browser in the tests",
        purpose: Some(Purpose::Test),
        present: || on_path("node"),
    },
    Need {
        package: "npm",
        why: "fetches Bootstrap Italia and what tests the portal's pages",
        purpose: Some(Purpose::Test),
        present: || on_path("npm"),
    },
    Need {
        package: "chromium",
        why: "shows the portal's pages to the tests",
        purpose: Some(Purpose::Test),
        present: || chromium().is_some(),
    },
];

/// Installs the packages that are missing for `purpose`.
pub(crate) async fn ensure(cache: &Cache, purpose: Purpose) -> Result<()> {
    let missing = missing(purpose);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !on_path("apt-get") {
        bail!("this host has no apt-get: install what Debian calls {} and run again", packages.join(", "));
    }
    for need in &missing {
        announce(need.package, need.why);
    }
    say::step(STEP, install(cache, &packages)).await?;
    let still: Vec<&str> = missing.iter().filter(|need| !(need.present)()).map(|need| need.package).collect();
    if !still.is_empty() {
        bail!("installed, but still not usable: {}", still.join(", "));
    }
    Ok(())
}

fn missing(purpose: Purpose) -> Vec<&'static Need> {
    let wanted = NEEDS.iter().filter(|need| need.purpose.is_none_or(|only| only == purpose));
    wanted.filter(|need| !(need.present)()).collect()
}

async fn install(cache: &Cache, packages: &[&str]) -> Result<()> {
    if packages.contains(&"postgresql") {
        forbid_main_cluster(cache).await?;
    }
    apt(cache, &["update"]).await?;
    let options = ["install", "--yes", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"];
    apt(cache, &[&options, packages].concat()).await
}

/// The package would create and start a cluster of its own on port 5432: nobody asked for that.
async fn forbid_main_cluster(cache: &Cache) -> Result<()> {
    if Path::new(CREATE_CLUSTER).exists() {
        return Ok(());
    }
    let file = cache.join("createcluster.conf");
    fs_err::write(&file, "create_main_cluster = false\n")?;
    let install = as_root("install").args(["-D", "-m", "0644"]).arg(&file).arg(CREATE_CLUSTER);
    install.output().await.map(drop)
}

async fn apt(cache: &Cache, args: &[&str]) -> Result<()> {
    let apt = as_root("env").args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]).args(args);
    apt.logged(cache.join("logs/apt.log")).await.context("failed to install packages")
}

fn as_root(program: &str) -> Run {
    if rustix::process::geteuid().is_root() {
        Run::new(STEP, program)
    } else {
        Run::new(STEP, "sudo").arg("--non-interactive").arg(program)
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn has_libclang() -> bool {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let direct = places.iter().any(|place| holds_libclang(Path::new(place)));
    direct || llvm_dirs().iter().any(|dir| holds_libclang(&dir.join("lib")))
}

fn llvm_dirs() -> Vec<PathBuf> {
    let entries = fs_err::read_dir("/usr/lib").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-")).map(|entry| entry.path()).collect()
}

fn holds_libclang(dir: &Path) -> bool {
    let entries = fs_err::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).any(|name| is_libclang(&name))
}

/// `libclang.so`, `libclang.so.1`, `libclang-14.so.1`; not `libclang-cpp.so.14`, which comes with other packages.
fn is_libclang(file: &str) -> bool {
    let version = |c: char| c.is_ascii_digit() || c == '-' || c == '.';
    file.strip_prefix("libclang").is_some_and(|rest| rest.trim_start_matches(version).starts_with("so"))
}

fn python_has_venv() -> bool {
    let probe = std::process::Command::new("python3").args(["-c", "import venv, ensurepip"]).output();
    probe.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_need_more_than_the_demo_and_each_need_has_a_reason() {
        let only_tests: Vec<&str> =
            NEEDS.iter().filter(|need| need.purpose == Some(Purpose::Test)).map(|need| need.package).collect();
        assert!(only_tests.contains(&"libxml2-dev") && !only_tests.contains(&"postgresql"));
        assert!(NEEDS.iter().all(|need| need.why.len() > 10));
    }

    #[test]
    fn the_library_for_cpp_is_not_the_one_that_bindings_are_made_with() {
        assert!(
            ["libclang.so", "libclang.so.1", "libclang-14.so.1", "libclang-14.0.6.so"].into_iter().all(is_libclang)
        );
        assert!(!["libclang-cpp.so.14", "libclang.a", "libclangAST.so.14"].into_iter().any(is_libclang));
    }

    #[test]
    fn a_program_that_nobody_has_is_not_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-of-anybody"));
    }
}
