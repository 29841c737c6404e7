//! The client of the API server.

use std::{env, path::Path};

use kube::{
    Client, Config,
    config::{InClusterError, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The process runs in a Pod, but without a usable service account.
    #[error("the service account of this Pod cannot be used; is automountServiceAccountToken off?")]
    InCluster(#[source] InClusterError),
    /// The given kubeconfig file cannot be used.
    #[error("the kubeconfig file cannot be used")]
    Kubeconfig(#[source] KubeconfigError),
    /// The process runs outside of a cluster, and no kubeconfig file was found.
    #[error("no API server is known: run in a Pod, or set KUBECONFIG or a kubeconfig file")]
    Unknown(#[source] InferConfigError),
    /// The configuration was read but asks for something that cannot be done.
    #[error("the client of the API server cannot be made")]
    Client(#[source] kube::Error),
}

/// A client of the API server that `kubeconfig` names; without one, of the cluster that this process runs in, else of
/// the user's own kubeconfig (`$KUBECONFIG`, `~/.kube/config`). Nothing is asked of the API server yet.
///
/// The service account's token is read anew as it rotates. Requests are not repeated on failure: callers know better.
///
/// # Errors
///
/// When no configuration is found, or it cannot be read or used.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(ConnectError::Kubeconfig)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(ConnectError::Kubeconfig)?
        }
        None if env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            Config::incluster().map_err(ConnectError::InCluster)?
        }
        None => Config::infer().await.map_err(ConnectError::Unknown)?,
    };
    config.default_retry = false;
    Client::try_from(config).map_err(ConnectError::Client)
}
