// Package pki makes the certificates, the key of service-account tokens and the kubeconfig of a bed.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"k8s.io/client-go/tools/clientcmd"

	"ferrogate/e2e/testbed/internal/state"
)

// lifetime of all certificates: a bed that is left running over a long weekend still works.
const lifetime = 30 * 24 * time.Hour

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         []byte
}

// Create writes all files of a bed: ca.crt, apiserver.crt/.key, admin.crt/.key, kubelet-client.crt/.key,
// service-account.key, and the kubeconfig of the administrator for the API server at server.
func Create(dir state.Dir, server string, hosts []string) error {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir.Key("ca.crt"), authority.pem, 0o644); err != nil {
		return err
	}
	if err := authority.issue(dir, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, hosts); err != nil {
		return err
	}
	admin := pkix.Name{CommonName: "testbed-admin", Organization: []string{"system:masters"}}
	if err := authority.issue(dir, "admin", admin, nil); err != nil {
		return err
	}
	client := pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{"system:masters"}}
	if err := authority.issue(dir, "kubelet-client", client, nil); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := writeKey(dir.Key("service-account.key"), key); err != nil {
		return err
	}
	return writeKubeconfig(dir, server, authority.pem)
}

func newAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "testbed-ca"},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate, key, encode("CERTIFICATE", der)}, nil
}

// issue writes NAME.crt and NAME.key; hosts are DNS names or addresses of a server.
func (a *Authority) issue(dir state.Dir, name string, subject pkix.Name, hosts []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	if err := os.WriteFile(dir.Key(name+".crt"), encode("CERTIFICATE", der), 0o644); err != nil {
		return err
	}
	return writeKey(dir.Key(name+".key"), key)
}

func writeKubeconfig(dir state.Dir, server string, ca []byte) error {
	certificate, err := os.ReadFile(dir.Key("admin.crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(dir.Key("admin.key"))
	if err != nil {
		return err
	}
	const name = "testbed"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.WriteToFile(*config, dir.Kubeconfig())
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, encode("EC PRIVATE KEY", der), 0o600)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// serial is random: clients tell certificates of two beds apart by it.
func serial() *big.Int {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return big.NewInt(time.Now().UnixNano())
	}
	return number
}
