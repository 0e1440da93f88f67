//! Structured logging: one JSON object per line, with the request id of the invocation.

use std::{env, fmt, panic};

use chrono::Utc;
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{Format, Json, JsonFields, Writer},
        time::FormatTime,
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::timestamp;

/// Starts logging to standard output, with the level and format that Lambda configures.
///
/// Other crates log at WARN and above only, because at lower levels the SDK logs requests including
/// payloads.
pub fn init_logging() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    let level = level.as_deref().map_or(LevelFilter::INFO, level_filter);
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("asp_events", level)
        .with_target("asp_renewal", level);
    let registry = tracing_subscriber::registry().with(targets);
    let format = env::var("AWS_LAMBDA_LOG_FORMAT").unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .without_time();
    let installed = if format.eq_ignore_ascii_case("text") {
        registry.with(lines.with_ansi(false)).try_init()
    } else {
        let json = FlatSpanFormat(json_format());
        registry.with(lines.json().event_format(json)).try_init()
    };
    // If called again in the same process, as in tests, the first subscriber stays.
    drop(installed);
    panic::set_hook(Box::new(|panic| {
        // Only the location: the panic message can contain parts of an event.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            location,
            "internal error: the function panicked. Please report it"
        );
    }));
}

/// Maps a level of Lambda's advanced logging controls. Only Lambda has FATAL.
fn level_filter(name: &str) -> LevelFilter {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

fn json_format() -> Format<Json, LineTime> {
    Format::default()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_timer(LineTime)
}

/// Writes the time of a line.
struct LineTime;

impl FormatTime for LineTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&timestamp(Utc::now()))
    }
}

/// Writes the fields of the current span, such as `requestId`, at the top level of each line, so
/// that one query finds all lines of an invocation.
struct FlatSpanFormat(Format<Json, LineTime>);

impl<S> FormatEvent<S, JsonFields> for FlatSpanFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(span) = context.lookup_current() else {
            return self.0.format_event(context, writer, event);
        };
        let extensions = span.extensions();
        let span_fields = extensions.get::<FormattedFields<JsonFields>>();
        let span_fields = span_fields.map_or("{}", |fields| fields.fields.as_str());
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&merged(span_fields, &line))
    }
}

/// Merges two JSON objects into one line. The first may be empty.
fn merged(first: &str, line: &str) -> String {
    let inner = first
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    match (inner, line.strip_prefix('{')) {
        (Some(inner), Some(rest)) if !inner.is_empty() => format!("{{{inner},{rest}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_fields_go_before_those_of_the_event() {
        assert_eq!(merged(r#"{"a":1}"#, "{\"b\":2}\n"), "{\"a\":1,\"b\":2}\n");
        assert_eq!(merged("{}", "{\"b\":2}\n"), "{\"b\":2}\n");
        assert_eq!(merged("", "{\"b\":2}\n"), "{\"b\":2}\n");
    }
}
