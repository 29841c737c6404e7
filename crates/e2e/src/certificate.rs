//! Certificates for listeners.

use rcgen::KeyUsagePurpose;

/// A self-signed certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate as PEM.
    pub certificate: String,
    /// The private key as PEM.
    pub key: String,
    /// The certificate as a TLS peer shows it.
    pub der: Vec<u8>,
}

impl Certificate {
    /// A new one for these names.
    #[must_use]
    pub fn new(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate is made");
        Certificate {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().to_vec(),
        }
    }

    /// A Secret of type `kubernetes.io/tls` with it.
    #[must_use]
    pub fn secret(&self, name: &str) -> String {
        secret(name, &self.certificate, &self.key)
    }

    /// The same with the key of another certificate: it fits nothing.
    #[must_use]
    pub fn mismatched(&self, name: &str, other: &Certificate) -> String {
        secret(name, &self.certificate, &other.key)
    }
}

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate as PEM.
    pub certificate: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// A new one.
    #[must_use]
    pub fn new(name: &str) -> Authority {
        let key = rcgen::KeyPair::generate().expect("a key is made");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages =
            [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature]
                .into();
        let certificate = params.self_signed(&key).expect("a certificate is made").pem();
        Authority { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    /// A certificate for these names.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_numbered(1, names)
    }

    /// The same with a serial number, by which it can be revoked.
    #[must_use]
    pub fn issue_numbered(&self, serial: u64, names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().expect("a key is made");
        let mut params = rcgen::CertificateParams::new(names).expect("DNS names");
        params.serial_number = Some(serial.into());
        let made = params.signed_by(&key, &self.issuer).expect("a certificate is made");
        Certificate { certificate: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
    }
}

impl Authority {
    /// A list (PEM) that revokes the certificates with these serial numbers; valid until the end of a year.
    #[must_use]
    pub fn revoke(&self, serials: &[u64], until: i32) -> String {
        let revoked = |serial: &u64| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2021, 1, 1),
            next_update: rcgen::date_time_ymd(until, 12, 31),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list is made").pem().expect("PEM")
    }
}

fn secret(name: &str, certificate: &str, key: &str) -> String {
    let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: \
         |\n{}  tls.key: |\n{}---\n",
        indent(certificate),
        indent(key)
    )
}
