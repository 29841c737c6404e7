//! `ferrogate crds`: what an API server must be taught before it takes objects of the kinds that are read.

use std::process::ExitCode;

use anyhow::bail;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::view::{self, Format};

/// Arguments of `ferrogate crds`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Kinds, plurals, short names, names of CRDs or groups, in any case; all CRDs when none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Format
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

/// Prints the CRDs in the order in which manifests have them.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    view::print_documents(&chosen(&args.names)?, args.output)?;
    Ok(ExitCode::SUCCESS)
}

/// CRDs that one of the names fits.
fn chosen(names: &[String]) -> anyhow::Result<Vec<Value>> {
    let all = api::crds();
    for name in names {
        if !all.iter().any(|crd| fits(crd, name)) {
            let known: Vec<&str> = all.iter().map(|crd| crd.spec.names.kind.as_str()).collect();
            bail!("there is no CRD {name:?}; there are CRDs of {}", known.join(", "));
        }
    }
    let chosen = all.iter().filter(|crd| names.is_empty() || names.iter().any(|name| fits(crd, name)));
    Ok(chosen.map(serde_json::to_value).collect::<Result<_, _>>()?)
}

fn fits(crd: &CustomResourceDefinition, name: &str) -> bool {
    let names = &crd.spec.names;
    let short = names.short_names.iter().flatten();
    let words = [&names.kind, &names.plural, &crd.spec.group].into_iter().chain(names.singular.as_ref());
    words.chain(short).chain(&crd.metadata.name).any(|word| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let kind = |crd: &Value| crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        chosen(&names).unwrap().iter().map(kind).collect()
    }

    #[test]
    fn crds_are_chosen_by_any_of_their_names() {
        assert_eq!(kinds(&[]).len(), api::crds().len());
        assert_eq!(kinds(&["httproute"]), ["HTTPRoute"]);
        assert_eq!(
            kinds(&["ctp", "gateways", "backends.gateway.envoyproxy.io"]),
            ["Gateway", "Backend", "ClientTrafficPolicy"]
        );
        let ours = kinds(&["gateway.envoyproxy.io"]);
        assert!(ours.iter().any(|kind| kind == "EnvoyProxy") && !ours.iter().any(|kind| kind == "Gateway"));
    }

    #[test]
    fn an_unknown_name_is_told_with_those_that_there_are() {
        let error = chosen(&["HTTPRoutes.example.com".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("\"HTTPRoutes.example.com\"") && error.contains("HTTPRoute, "), "{error}");
    }
}
