//! Logs: format, level, and the level's change at run time.

use std::{io::IsTerminal, sync::OnceLock};

use api::config::{LogComponent, LogEncoder, LogLevel, Logging};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Layered, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

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

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Writer = Box<dyn Layer<Filtered> + Send + Sync>;

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static FORMAT: OnceLock<reload::Handle<Writer, Filtered>> = OnceLock::new();

/// Starts logging to standard error. Call it once.
pub(crate) fn init(args: &LogArgs) -> anyhow::Result<()> {
    start(parse(&args.log_level)?, args.log_format)
}

/// Starts logging as a configuration file says. Call it once.
pub(crate) fn init_as(logging: &Logging) -> anyhow::Result<()> {
    start(parse(&directives(logging))?, format_of(logging))
}

/// Changes level and format to what a configuration file says.
pub(crate) fn change_to(logging: &Logging) -> anyhow::Result<()> {
    set_level(&directives(logging))?;
    let handle = FORMAT.get().ok_or_else(|| anyhow::anyhow!("logging was not started"))?;
    Ok(handle.reload(writer(format_of(logging)))?)
}

fn start(filter: EnvFilter, format: LogFormat) -> anyhow::Result<()> {
    let (filter, level) = reload::Layer::new(filter);
    let (writer, format) = reload::Layer::new(writer(format));
    tracing_subscriber::registry().with(filter).with(writer).try_init()?;
    let _ = LEVEL.set(level);
    let _ = FORMAT.set(format);
    Ok(())
}

fn writer(format: LogFormat) -> Writer {
    match format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed()
        }
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
    }
}

fn format_of(logging: &Logging) -> LogFormat {
    match logging.encoder {
        LogEncoder::Text => LogFormat::Text,
        LogEncoder::Json => LogFormat::Json,
    }
}

/// Levels by target. `FERROGATE_LOG` goes before the file, so that one replica can be looked into.
fn directives(logging: &Logging) -> String {
    if let Some(level) = std::env::var("FERROGATE_LOG").ok().filter(|level| !level.is_empty()) {
        return level;
    }
    directives_of(logging)
}

fn directives_of(logging: &Logging) -> String {
    let mut parts = vec!["info".to_owned()];
    for (component, level) in &logging.level {
        let level = match level {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error | LogLevel::Critical => "error",
            LogLevel::Off => "off",
        };
        if *component == LogComponent::Default {
            level.clone_into(&mut parts[0]);
        }
        parts.extend(crates(*component).iter().map(|name| format!("{name}={level}")));
    }
    parts.join(",")
}

/// Our crates that make up what Envoy Gateway calls a component.
fn crates(component: LogComponent) -> &'static [&'static str] {
    match component {
        LogComponent::Default => &[],
        LogComponent::Provider => &["provider", "leader::status", "leader::lease"],
        LogComponent::GatewayApi => &["store", "translate", "pipeline"],
        LogComponent::XdsTranslator => &["xds"],
        LogComponent::XdsServer => &["server"],
        LogComponent::Xds => &["xds", "server"],
        LogComponent::Infrastructure => &["infra", "leader::infra"],
        // There is no such part yet.
        LogComponent::GlobalRatelimit => &[],
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_components_are_levels_of_crates() {
        let logging: Logging = serde_json::from_value(serde_json::json!({
            "level": { "default": "warn", "xds": "debug", "infrastructure": "critical" }
        }))
        .unwrap();
        let text = directives_of(&logging);
        assert_eq!(text, "warn,xds=debug,server=debug,infra=error,leader::infra=error");
        parse(&text).unwrap();
        assert_eq!(directives_of(&Logging::default()), "info");
    }
}
