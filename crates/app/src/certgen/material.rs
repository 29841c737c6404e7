//! An authority, three certificates of it, and a key for cookies.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use ring::rand::{SecureRandom, SystemRandom};

/// Secret and folder of the control plane's certificate.
pub(super) const CONTROL_PLANE: &str = "envoy-gateway";
/// Secret and folder of the proxies' certificate.
pub(super) const PROXY: &str = "envoy";
/// Secret and folder of the rate limit service's certificate.
pub(super) const RATE_LIMIT: &str = "envoy-rate-limit";
/// Secret and folder of the key that OIDC cookies are signed with.
pub(super) const HMAC: &str = "envoy-oidc-hmac";
/// The key's name in it.
pub(super) const HMAC_KEY: &str = "hmac-secret";

/// How long all certificates are valid: 5 years, as Envoy Gateway's. They are replaced by `--overwrite`.
const VALIDITY: Duration = Duration::from_secs(5 * 365 * 24 * 3_600);
/// How long before now they begin to be: machines' clocks differ.
const SKEW: Duration = Duration::from_secs(3_600);
/// Bytes of the key for cookies: as many as SHA-256 gives.
const HMAC_BYTES: usize = 32;

/// DNS names in the certificates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// Of the control plane.
    pub(super) control_plane: Vec<String>,
    /// Of proxies and of the rate limit service.
    pub(super) proxies: Vec<String>,
}

impl Names {
    /// Names of the Service in a cluster.
    pub(super) fn of_cluster(namespace: &str, dns_domain: &str) -> Names {
        let service = CONTROL_PLANE;
        Names {
            control_plane: vec![
                service.to_owned(),
                format!("{service}.{namespace}"),
                format!("{service}.{namespace}.svc"),
                format!("{service}.{namespace}.svc.{dns_domain}"),
            ],
            proxies: vec![format!("*.{namespace}")],
        }
    }

    /// Everything on one machine.
    pub(super) fn local() -> Names {
        Names { control_plane: vec!["localhost".to_owned()], proxies: vec!["localhost".to_owned()] }
    }
}

/// A certificate with its key, and whom it trusts, in PEM.
pub(super) struct Pair {
    /// Secret or folder.
    pub(super) name: &'static str,
    /// `tls.crt`.
    pub(super) certificate: String,
    /// `tls.key`.
    pub(super) key: String,
}

/// Everything that one run makes.
pub(super) struct Set {
    /// `ca.crt` of all pairs. Its key is forgotten.
    pub(super) authority: String,
    /// Control plane, proxies, rate limit service.
    pub(super) pairs: [Pair; 3],
    /// Key for cookies.
    pub(super) hmac: Vec<u8>,
}

/// Makes everything. Keys are on the curve P-256: as strong as RSA of 3072 bits, and fast to make and to use.
pub(super) fn generate(names: &Names) -> anyhow::Result<Set> {
    let issuer = authority().context("cannot make an authority")?;
    let pair = |name, common_name: &str, names: &[String]| {
        issue(&issuer, name, common_name, names)
            .with_context(|| format!("cannot make the certificate {name}"))
    };
    let pairs = [
        pair(CONTROL_PLANE, "envoy-gateway", &names.control_plane)?,
        pair(PROXY, "envoy", &names.proxies)?,
        pair(RATE_LIMIT, "envoy", &names.proxies)?,
    ];
    let mut hmac = vec![0; HMAC_BYTES];
    SystemRandom::new().fill(&mut hmac).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(Set { authority: issuer.pem(), pairs, hmac })
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = params("ferrogate", &[])?;
    params.distinguished_name.push(DnType::OrganizationName, "Ferrogate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn issue(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    name: &'static str,
    common_name: &str,
    names: &[String],
) -> anyhow::Result<Pair> {
    let mut params = params(common_name, names)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Pair { name, certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(common_name: &str, names: &[String]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let begin = rcgen::date_time_ymd(1970, 1, 1) + now.saturating_sub(SKEW);
    params.not_before = begin;
    params.not_after = begin + SKEW + VALIDITY;
    Ok(params)
}
