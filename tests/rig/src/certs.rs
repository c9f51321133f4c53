//! Certificates for loopback: one authority for the mesh, another for the node's side.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// Who has a certificate of the mesh; the name is its first DNS SAN. `dev` is the person at the keyboard, `restore`
/// one who ends a restore.
pub const MESH: [&str; 7] = ["operator", "tenant", "node-connector", "reporting", "front-office", "restore", "dev"];

/// An authority that signs leaves.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// TLS server.
    Server,
    /// TLS client.
    Client,
}

/// A certificate to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// Subject CN.
    pub common_name: &'a str,
    /// Subject O.
    pub organisation: Option<&'a str>,
    /// Subject alternative names: DNS names and IP addresses, in this order.
    pub names: &'a [&'a str],
    /// Extended key usages.
    pub usages: &'a [Usage],
}

/// A certificate, its key and the authority to trust, as PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Certificate.
    pub cert: PathBuf,
    /// PKCS #8 key.
    pub key: PathBuf,
    /// Authority of the other side.
    pub ca: PathBuf,
}

/// Every certificate of one installation, in files of one directory.
#[derive(Debug)]
pub struct Mesh {
    dir: PathBuf,
    authority: Authority,
    node_authority: Authority,
    temporary: Option<TempDir>,
}

// === impl Authority ===

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new self-signed authority.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn new(common_name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = name(common_name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a leaf: (certificate, key), both PEM.
    ///
    /// # Errors
    /// When a name is not ASCII.
    pub fn issue(&self, leaf: &Leaf<'_>) -> Result<(String, String)> {
        let names: Vec<String> = leaf.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name(leaf.common_name, leaf.organisation);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = leaf.usages.iter().map(|usage| usage.purpose()).collect();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Signs a leaf into `<dir>/<file>.crt` and `<dir>/<file>.key`.
    ///
    /// # Errors
    /// When the leaf cannot be signed or the files cannot be written.
    pub fn issue_into(&self, dir: &Path, file: &str, leaf: &Leaf<'_>) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = self.issue(leaf).with_context(|| format!("failed to sign {file}"))?;
        let paths = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        fs_err::write(&paths.0, certificate)?;
        write_secret(&paths.1, &key)?;
        Ok(paths)
    }
}

// === impl Usage ===

impl Usage {
    fn purpose(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Self::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }
    }
}

// === impl Mesh ===

impl Mesh {
    /// A mesh in a directory of its own that goes with it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new() -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix("fiorino-mesh-").tempdir()?;
        let mut mesh = Self::at(temporary.path())?;
        mesh.temporary = Some(temporary);
        Ok(mesh)
    }

    /// A mesh in `dir`, which must exist and stays.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn at(dir: &Path) -> Result<Self> {
        let mesh = Self {
            dir: dir.to_owned(),
            authority: Authority::new("Fiorino mesh")?,
            node_authority: Authority::new("Simulated pagoPA")?,
            temporary: None,
        };
        fs_err::write(dir.join("ca.crt"), mesh.authority.pem())?;
        fs_err::write(dir.join("node-ca.crt"), mesh.node_authority.pem())?;
        for name in MESH {
            mesh.issue(name)?;
        }
        let client = Leaf { common_name: "node", organisation: None, names: &["node"], usages: &[Usage::Client] };
        mesh.node_authority.issue_into(dir, "node-client", &client)?;
        let server = Leaf {
            common_name: "node-connector",
            organisation: None,
            names: &["node-connector", "localhost", "127.0.0.1"],
            usages: &[Usage::Server],
        };
        mesh.node_authority.issue_into(dir, "node-server", &server)?;
        Ok(mesh)
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        self.temporary.as_ref().map_or(&self.dir, TempDir::path)
    }

    /// The mesh's authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The authority of the node's side.
    pub fn node_authority(&self) -> &Authority {
        &self.node_authority
    }

    /// Signs a mesh certificate for `name` and answers with its files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn issue(&self, name: &str) -> Result<Identity> {
        let leaf = Leaf {
            common_name: name,
            organisation: None,
            names: &[name, "localhost", "127.0.0.1"],
            usages: &[Usage::Server, Usage::Client],
        };
        self.authority.issue_into(&self.dir, name, &leaf)?;
        Ok(self.identity(name))
    }

    /// The files of one of [`MESH`], or of a name that was issued.
    pub fn identity(&self, name: &str) -> Identity {
        self.files(name, "ca.crt")
    }

    /// The node's client certificate; `ca` verifies the node-connector's mTLS listener.
    pub fn node_client(&self) -> Identity {
        self.files("node-client", "node-ca.crt")
    }

    /// The certificate of the node-connector's mTLS listener; `ca` verifies the node.
    pub fn node_server(&self) -> Identity {
        self.files("node-server", "node-ca.crt")
    }

    fn files(&self, name: &str, ca: &str) -> Identity {
        Identity {
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
            ca: self.dir.join(ca),
        }
    }
}

/// Writes a file that only its owner reads.
///
/// # Errors
/// When it cannot be written.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    fs_err::OpenOptions::from_options(options).open(path)?.write_all(text.as_bytes())?;
    Ok(())
}

fn name(common_name: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common_name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_file_and_removes_them() {
        let mesh = Mesh::new().unwrap();
        let dir = mesh.dir().to_owned();
        let identities = MESH.map(|name| mesh.identity(name)).into_iter();
        for identity in identities.chain([mesh.node_client(), mesh.node_server()]) {
            for file in [&identity.cert, &identity.key, &identity.ca] {
                assert!(fs_err::read_to_string(file).unwrap().starts_with("-----BEGIN "), "{}", file.display());
            }
        }
        drop(mesh);
        assert!(!dir.exists());
    }
}
