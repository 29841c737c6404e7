package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// objects answers for Secrets and ConfigMaps from a watch, and for tokens.
type objects struct {
	client     *kubernetes.Clientset
	secrets    corelisters.SecretLister
	configMaps corelisters.ConfigMapLister

	mu     sync.Mutex
	tokens map[tokenKey]token
}

type tokenKey struct {
	pod      types.UID
	audience string
	seconds  int64
}

type token struct {
	value string
	renew time.Time
}

func newObjects(client *kubernetes.Clientset, factory informers.SharedInformerFactory,
	changed func(kind, namespace, name string),
) *objects {
	o := &objects{client: client, tokens: map[tokenKey]token{}}
	secrets, configMaps := factory.Core().V1().Secrets(), factory.Core().V1().ConfigMaps()
	o.secrets, o.configMaps = secrets.Lister(), configMaps.Lister()
	for kind, informer := range map[string]cache.SharedIndexInformer{
		"Secret": secrets.Informer(), "ConfigMap": configMaps.Informer(),
	} {
		notify := func(object any) {
			if meta, ok := object.(metav1.Object); ok {
				changed(kind, meta.GetNamespace(), meta.GetName())
			}
		}
		_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: notify, UpdateFunc: func(_, object any) { notify(object) }, DeleteFunc: notify,
		})
	}
	return o
}

// Secret asks the API server where the watch knows nothing: it may be behind.
func (o *objects) Secret(namespace, name string) (*corev1.Secret, error) {
	secret, err := o.secrets.Secrets(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return o.client.CoreV1().Secrets(namespace).Get(context.Background(), name, metav1.GetOptions{})
	}
	return secret, err
}

// ConfigMap is as Secret.
func (o *objects) ConfigMap(namespace, name string) (*corev1.ConfigMap, error) {
	configMap, err := o.configMaps.ConfigMaps(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return o.client.CoreV1().ConfigMaps(namespace).Get(context.Background(), name, metav1.GetOptions{})
	}
	return configMap, err
}

// Token asks for a token bound to the Pod and keeps it for 80 % of its life.
func (o *objects) Token(ctx context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection) (string, error) {
	key := tokenKey{pod: pod.UID, audience: source.Audience, seconds: 3600}
	if source.ExpirationSeconds != nil {
		key.seconds = *source.ExpirationSeconds
	}
	o.mu.Lock()
	known, ok := o.tokens[key]
	o.mu.Unlock()
	if ok && time.Now().Before(known.renew) {
		return known.value, nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &key.seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	account := pod.Spec.ServiceAccountName
	issued, err := o.client.CoreV1().ServiceAccounts(pod.Namespace).
		CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of ServiceAccount %s: %w", account, err)
	}
	life := time.Until(issued.Status.ExpirationTimestamp.Time)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens[key] = token{issued.Status.Token, time.Now().Add(life * 8 / 10)}
	return issued.Status.Token, nil
}

// forget drops the tokens of a Pod that is gone.
func (o *objects) forget(pod types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.tokens {
		if key.pod == pod {
			delete(o.tokens, key)
		}
	}
}
