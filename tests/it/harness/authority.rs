//! A certificate authority for one test, and the certificates that it issues.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::dir::TempDir;
use super::process::openssl;

const AUTHORITY: &str = "\
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = ResuLLM test authority
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
";

const LEAF: &str = "\
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = ";

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

pub struct Authority {
    dir: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let dir = TempDir::new();
        write(dir.path(), "authority.cnf", AUTHORITY);
        let authority = Authority { dir };
        authority.openssl(&format!(
            "req -x509 -config authority.cnf {NEW_KEY} -keyout ca.key -out ca.pem -days 2"
        ));
        authority
    }

    /// PEM file of the authority's certificate, for clients that trust it.
    pub fn ca(&self) -> PathBuf {
        self.dir.file("ca.pem")
    }

    /// Issues `<name>.pem` and `<name>.key` for names such as `DNS:localhost, IP:127.0.0.1`.
    pub fn issue(&self, name: &str, names: &str) -> (PathBuf, PathBuf) {
        write(
            self.dir.path(),
            &format!("{name}.cnf"),
            &format!("{LEAF}{names}\n"),
        );
        self.openssl(&format!(
            "req -new -config authority.cnf {NEW_KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile {name}.cnf -extensions leaf -out {name}.pem"
        ));
        let file = |end: &str| self.dir.file(&format!("{name}.{end}"));
        (file("pem"), file("key"))
    }

    fn openssl(&self, arguments: &str) {
        let output = openssl()
            .args(arguments.split_whitespace())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        assert!(
            output.status.success(),
            "openssl {arguments}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("the config of openssl");
}
