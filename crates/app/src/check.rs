//! `ferrogate check`: what is wrong, or will be, before users notice.

use std::process::ExitCode;

use ::check::{Finding, Input, Severity};

use crate::{
    admin_client::Admin,
    bootstraps,
    offline::{Offline, Sources},
    view::{self, check::Findings},
};

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;
/// Days before their end from which on certificates are named, unless told otherwise.
const MARGIN: u32 = 30;

/// Arguments of `ferrogate check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    wanted: Wanted,
    /// Format of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Exit with 1 when a finding is at least this bad
    #[arg(long, value_enum, default_value = "error")]
    fail_on: FailOn,
}

/// What is looked at, and what is shown of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Wanted {
    /// Show findings about objects of this namespace only; may be given more than once
    #[arg(short = 'n', long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Name certificates this many days before they end
    #[arg(long, value_name = "DAYS", default_value_t = MARGIN)]
    certificate_margin: u32,
}

/// Form of the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Lines for people.
    Table,
    /// A JSON list, with reasons and patches.
    Json,
    /// SARIF 2.1.0, as code hosts show it beside the files.
    Sarif,
    /// JUnit XML, as CI servers show it.
    Junit,
}

/// From which severity on the exit code is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FailOn {
    /// Something has no effect, or requests fail.
    Error,
    /// Also what is not as it seems, or not for long.
    Warning,
    /// Any finding.
    Info,
    /// Never.
    Never,
}

impl FailOn {
    fn severity(self) -> Option<Severity> {
        match self {
            FailOn::Error => Some(Severity::Error),
            FailOn::Warning => Some(Severity::Warning),
            FailOn::Info => Some(Severity::Info),
            FailOn::Never => None,
        }
    }
}

impl Wanted {
    /// Everything, with the margin that holds unless told otherwise.
    pub(crate) fn everything() -> Wanted {
        Wanted { certificate_margin: MARGIN, ..Wanted::default() }
    }

    /// The findings of a pipeline that are wanted.
    pub(crate) fn findings(
        &self,
        pipeline: &pipeline::Pipeline,
        loading: &[ir::Problem],
        foreign: &[serde_json::Value],
    ) -> Vec<Finding> {
        let margin = i64::from(self.certificate_margin) * DAY;
        let mut findings = ::check::check(&Input { pipeline, loading, foreign, margin });
        if !self.namespaces.is_empty() {
            let chosen =
                |namespace: &Option<String>| namespace.as_ref().is_some_and(|n| self.namespaces.contains(n));
            findings.retain(|finding| finding.places.iter().any(|place| chosen(&place.object.namespace)));
        }
        findings
    }

    fn query(&self) -> String {
        let margin = format!("margin={}", self.certificate_margin);
        let namespaces = self.namespaces.iter().map(|namespace| format!("namespace={namespace}"));
        std::iter::once(margin).chain(namespaces).collect::<Vec<_>>().join("&")
    }

    /// From the query of the admin port's `/check`.
    ///
    /// # Errors
    /// When a name is not known, or the margin is no number.
    pub(crate) fn from_query(pairs: Vec<(String, String)>) -> anyhow::Result<Wanted> {
        let mut wanted = Wanted::everything();
        for (name, value) in pairs {
            match &*name {
                "namespace" => wanted.namespaces.push(value),
                "margin" => wanted.certificate_margin = value.parse()?,
                _ => anyhow::bail!("{name:?} is not known; known are namespace and margin"),
            }
        }
        Ok(wanted)
    }
}

/// Runs the command. Exit code 0; 1 when a finding is as bad as `--fail-on` says; 2 when nothing can be looked at.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let findings = match args.sources.judge()? {
        Some(Offline { pipeline, mut problems, places, foreign, .. }) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            problems.extend(runtime.block_on(bootstraps::problems(&pipeline)));
            Findings::of(&args.wanted.findings(&pipeline, &problems, &foreign), places)?
        }
        None => {
            let (status, body) = args.admin.get(&format!("/check?{}", args.wanted.query()))?;
            anyhow::ensure!(status.is_success(), "{}", String::from_utf8_lossy(&body).trim_end());
            Findings::read(&body)?
        }
    };
    let text = match args.output {
        Output::Table => findings.table(),
        Output::Json => findings.json()?,
        Output::Sarif => findings.sarif()?,
        Output::Junit => findings.junit(),
    };
    view::write_out(text.as_bytes())?;
    let worst = findings.worst();
    let fails = args.fail_on.severity().is_some_and(|limit| worst.is_some_and(|worst| worst >= limit));
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
