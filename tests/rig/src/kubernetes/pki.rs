//! Keys and certificates of the API server. Those of the mesh: [`crate::certs`].

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::certs::{Authority, Leaf, Usage, write_secret};

/// What the API server is started with.
#[derive(Debug)]
pub(super) struct ControlPlanePki {
    /// Authority of everybody.
    pub(super) ca: PathBuf,
    /// The server's certificate.
    pub(super) server_cert: PathBuf,
    /// The server's key.
    pub(super) server_key: PathBuf,
    /// The administrator's certificate.
    pub(super) admin_cert: PathBuf,
    /// The administrator's key.
    pub(super) admin_key: PathBuf,
    /// Signs service account tokens.
    pub(super) tokens_key: PathBuf,
    /// Verifies them.
    pub(super) tokens_public: PathBuf,
}

/// Makes the API server's certificates in `dir`.
pub(super) fn control_plane(dir: &Path) -> Result<ControlPlanePki> {
    fs_err::create_dir_all(dir)?;
    let authority = Authority::new("kubernetes")?;
    let ca = dir.join("ca.crt");
    fs_err::write(&ca, authority.pem())?;
    let names = ["localhost", "127.0.0.1", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let server = Leaf { common_name: "kube-apiserver", organisation: None, names: &names, usages: &[Usage::Server] };
    let (server_cert, server_key) = authority.issue_into(dir, "apiserver", &server)?;
    let admin =
        Leaf { common_name: "admin", organisation: Some("system:masters"), names: &[], usages: &[Usage::Client] };
    let (admin_cert, admin_key) = authority.issue_into(dir, "admin", &admin)?;
    let tokens = rcgen::KeyPair::generate()?;
    let (tokens_key, tokens_public) = (dir.join("tokens.key"), dir.join("tokens.pub"));
    write_secret(&tokens_key, &tokens.serialize_pem())?;
    fs_err::write(&tokens_public, tokens.public_key_pem())?;
    Ok(ControlPlanePki { ca, server_cert, server_key, admin_cert, admin_key, tokens_key, tokens_public })
}
