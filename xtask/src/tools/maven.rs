//! Programs that come as jars.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::announce;
use crate::cache::{Cache, key};
use crate::run::Run;
use crate::say;

/// The directory with the jars that `pom.xml` in `source` names, fetched by `goal` of Maven's dependency plugin.
pub(crate) async fn ensure(cache: &Cache, source: &Path, goal: &str) -> Result<PathBuf> {
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pom = source.join("pom.xml");
    let step = format!("{name} jars");
    let fill = async |dir: &Path| {
        announce(&step, "from Maven Central, by the versions in xtask/tools");
        let maven = Run::new(&step, "mvn")
            .args(["--batch-mode", "--no-transfer-progress", "--file"])
            .arg(&pom)
            .arg(format!("dependency:{goal}"))
            .arg(format!("-DoutputDirectory={}", dir.display()));
        say::step(&step, maven.logged(cache.join(format!("logs/maven-{name}.log")))).await
    };
    cache.install(&name, &key(&[&fs_err::read(&pom)?]), fill).await
}
