//! Traces: what happened to one request, in which process, and for how long. Gateway and worker make spans, the context
//! travels in the envelope, and what has ended is sent to an OTLP receiver. Off unless an address is configured; then
//! contexts still travel, so that callers find their trace ids in every log.
//! Spans tell routes, kinds, ids of requests and codes, never what a caller chose or an image shows.

mod context;
mod export;
mod joint;
pub mod otlp;
mod span;

pub use context::SpanContext;
pub use export::{ExportOptions, Exporter, TraceError};
pub use joint::Joint;
pub use span::{Ended, Handle, Kind, Span, Tracer, Value, current, within};
