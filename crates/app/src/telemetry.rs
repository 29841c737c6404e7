//! Logs: format, level, and the level's change at run time.

use std::{io::IsTerminal, sync::OnceLock};

use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Arguments about logs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Log level, or levels by target such as `info,envoy=debug,access=warn`
    #[arg(long, env = "FERROGATE_LOG", default_value = "info", value_name = "LEVEL")]
    log_level: String,
    /// Log format
    #[arg(long, env = "FERROGATE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging to standard error. Call it once.
pub(crate) fn init(args: &LogArgs) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(parse(&args.log_level)?);
    let registry = tracing_subscriber::registry().with(filter);
    match args.log_format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            let layer = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
            registry.with(layer).try_init()?;
        }
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init()?;
        }
    }
    let _ = LEVEL.set(handle);
    Ok(())
}

fn parse(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(level).map_err(|error| anyhow::anyhow!("{level:?} is not a log level: {error}"))
}

/// The level in force.
pub(crate) fn level() -> String {
    LEVEL.get().and_then(|handle| handle.with_current(ToString::to_string).ok()).unwrap_or_default()
}

/// Changes the level.
pub(crate) fn set_level(level: &str) -> anyhow::Result<()> {
    let filter = parse(level)?;
    let handle = LEVEL.get().ok_or_else(|| anyhow::anyhow!("logging was not started"))?;
    Ok(handle.reload(filter)?)
}
