//! Spans: begun by whoever does the work, ended when dropped. A handle names a span to those who work for it, on any
//! thread; nothing is kept of spans that are not sampled.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::SpanContext;

/// What a span is of, as OTLP numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work within a process.
    Internal = 1,
    /// A request that was received.
    Server = 2,
    /// A job handed over to a queue.
    Producer = 4,
    /// A job taken from a queue.
    Consumer = 5,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A span that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub context: SpanContext,
    /// The span it is part of.
    pub parent: Option<[u8; 8]>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// What it is of.
    pub kind: Kind,
    /// From when.
    pub began: SystemTime,
    /// Until when.
    pub ended: SystemTime,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans of other traces that it has to do with.
    pub links: Vec<SpanContext>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// Makes the spans of a process; cheap to clone. The default keeps none.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    /// Of the traces that begin here, how many are kept.
    share: f64,
    ended: mpsc::Sender<Ended>,
    dropped: Option<IntCounter>,
}

impl Recorder {
    fn keep(&self, span: Ended) {
        // A receiver that is slow or away costs spans, never requests.
        if self.ended.try_send(span).is_err()
            && let Some(dropped) = &self.dropped
        {
            dropped.inc();
        }
    }
}

impl Tracer {
    /// A tracer that hands ended spans on, at most `room` of them waiting; what is more is counted in `dropped`. Of the
    /// traces that begin here it keeps this share, of others what their callers say.
    #[must_use]
    pub fn new(share: f64, room: usize, dropped: Option<IntCounter>) -> (Self, mpsc::Receiver<Ended>) {
        let (ended, spans) = mpsc::channel(room.max(1));
        (Self(Some(Arc::new(Recorder { share, ended, dropped }))), spans)
    }

    /// A span that belongs to whoever asked, if they said so, or begins a trace.
    pub fn root(&self, name: impl Into<Cow<'static, str>>, kind: Kind, asked: Option<SpanContext>) -> Span {
        let Some(recorder) = &self.0 else { return Span::unrecorded(None, asked) };
        let context = match asked {
            Some(parent) => parent.beside(),
            None => SpanContext::fresh(drawn(recorder.share)),
        };
        Span::begin(recorder, context, asked.map(|p| p.span), name.into(), kind)
    }

    /// Works for a span of another process.
    #[must_use]
    pub fn handle(&self, of: Option<SpanContext>) -> Handle {
        Handle { recorder: self.0.clone(), context: of }
    }
}

/// Whether this trace is among the share that is kept.
fn drawn(share: f64) -> bool {
    if share >= 1.0 {
        return true;
    }
    let drawn = getrandom::u32().map_or(1.0, |n| f64::from(n) / (f64::from(u32::MAX) + 1.0));
    drawn < share
}

/// Names a span to those who work for it; cheap to clone. The default names none.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    recorder: Option<Arc<Recorder>>,
    context: Option<SpanContext>,
}

impl Handle {
    fn recording(&self) -> Option<(&Arc<Recorder>, SpanContext)> {
        self.recorder.as_ref().zip(self.context.filter(|c| c.sampled))
    }

    /// Whether what is done for it is kept.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recording().is_some()
    }

    /// Where the span stands, if it is of any trace.
    #[must_use]
    pub fn context(&self) -> Option<SpanContext> {
        self.context
    }

    /// The trace's id, for logs.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        self.context.map(|c| c.trace_id())
    }

    /// What another process is told; empty if there is no trace.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.context.map(|c| c.to_string()).unwrap_or_default()
    }

    /// A part of the work.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        match self.recording() {
            Some((recorder, parent)) => Span::begin(recorder, parent.beside(), Some(parent.span), name.into(), kind),
            None => Span::unrecorded(self.recorder.clone(), self.context),
        }
    }

    /// A part of the work that is over and took so long.
    pub fn past(&self, name: &'static str, took: Duration) {
        self.past_with(name, took, None);
    }

    /// The same with a link.
    pub(crate) fn past_with(&self, name: &'static str, took: Duration, link: Option<SpanContext>) {
        let Some((recorder, parent)) = self.recording() else { return };
        let Some(context) = parent.beside() else { return };
        let ended = SystemTime::now();
        recorder.keep(Ended {
            context,
            parent: Some(parent.span),
            name: name.into(),
            kind: Kind::Internal,
            began: ended.checked_sub(took).unwrap_or(ended),
            ended,
            attributes: Vec::new(),
            links: link.into_iter().collect(),
            failed: None,
        });
    }

    /// A span of a trace of its own that this one and others have to do with.
    pub(crate) fn joint(&self, name: &'static str, links: Vec<SpanContext>) -> Span {
        let Some((recorder, _)) = self.recording() else { return Span::unrecorded(None, None) };
        let mut span = Span::begin(recorder, SpanContext::fresh(true), None, name.into(), Kind::Internal);
        if let Some(live) = &mut span.live {
            live.links = links;
        }
        span
    }
}

/// Work that is under way; over when this is dropped.
#[derive(Debug)]
pub struct Span {
    handle: Handle,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    parent: Option<[u8; 8]>,
    name: Cow<'static, str>,
    kind: Kind,
    began: SystemTime,
    clock: Instant,
    attributes: Vec<(&'static str, Value)>,
    links: Vec<SpanContext>,
    failed: Option<String>,
}

impl Span {
    fn unrecorded(recorder: Option<Arc<Recorder>>, context: Option<SpanContext>) -> Self {
        Self { handle: Handle { recorder, context }, live: None }
    }

    fn begin(
        recorder: &Arc<Recorder>,
        context: Option<SpanContext>,
        parent: Option<[u8; 8]>,
        name: Cow<'static, str>,
        kind: Kind,
    ) -> Self {
        let live = context.filter(|c| c.sampled).map(|_| Live {
            parent,
            name,
            kind,
            began: SystemTime::now(),
            clock: Instant::now(),
            attributes: Vec::new(),
            links: Vec::new(),
            failed: None,
        });
        Self { handle: Handle { recorder: Some(Arc::clone(recorder)), context }, live }
    }

    /// For those who work for it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Says something about it; nothing is made of what is not kept.
    pub fn set<V: Into<Value>>(&mut self, name: &'static str, value: V) {
        if let Some(live) = &mut self.live {
            live.attributes.push((name, value.into()));
        }
    }

    /// It came to nothing, for this reason: a code, not a sentence.
    pub fn fail(&mut self, why: &str) {
        if let Some(live) = &mut self.live {
            live.failed = Some(why.to_owned());
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let (Some(live), Some((recorder, context))) = (self.live.take(), self.handle.recording()) else { return };
        recorder.keep(Ended {
            context,
            parent: live.parent,
            name: live.name,
            kind: live.kind,
            began: live.began,
            // By the clock that does not jump.
            ended: live.began + live.clock.elapsed(),
            attributes: live.attributes,
            links: live.links,
            failed: live.failed,
        });
    }
}

tokio::task_local! {
    static CURRENT: Handle;
}

/// Does work for a span: [`current`] names it meanwhile, in this task.
pub async fn within<T>(handle: Handle, work: impl Future<Output = T>) -> T {
    CURRENT.scope(handle, work).await
}

/// The span that this task works for, if any. For what many layers lie between.
#[must_use]
pub fn current() -> Handle {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(sampled: bool) -> SpanContext {
        SpanContext::fresh(sampled).unwrap()
    }

    #[test]
    fn without_a_receiver_the_callers_context_travels_on_unchanged() {
        let tracer = Tracer::default();
        let asked = context(true);
        let span = tracer.root("request", Kind::Server, Some(asked));
        let child = span.handle().child("dispatch", Kind::Producer);
        assert_eq!(child.handle().context(), Some(asked));
        assert_eq!(tracer.root("request", Kind::Server, None).handle().traceparent(), "");
    }

    #[test]
    fn children_name_their_parents_and_end_before_them() {
        let (tracer, mut spans) = Tracer::new(1.0, 8, None);
        let asked = context(true);
        let mut root = tracer.root("request", Kind::Server, Some(asked));
        root.set("a", 7);
        root.fail("no_face");
        drop(root.handle().child("part", Kind::Internal));
        root.handle().past("earlier", Duration::from_millis(5));
        let root_context = root.handle().context().unwrap();
        drop(root);
        let (part, earlier, root) = (spans.try_recv().unwrap(), spans.try_recv().unwrap(), spans.try_recv().unwrap());
        assert_eq!((part.parent, earlier.parent), (Some(root_context.span), Some(root_context.span)));
        assert_eq!((root.parent, root.context), (Some(asked.span), root_context));
        assert!([part.context, earlier.context, root.context].iter().all(|c| c.trace == asked.trace));
        assert_eq!(earlier.ended.duration_since(earlier.began).unwrap(), Duration::from_millis(5));
        assert_eq!((root.failed.as_deref(), &root.attributes[..]), (Some("no_face"), &[("a", Value::Number(7))][..]));
    }

    #[test]
    fn what_is_not_sampled_is_not_kept_but_has_ids_for_logs() {
        let (tracer, mut spans) = Tracer::new(0.0, 8, None);
        let root = tracer.root("request", Kind::Server, None);
        let child = root.handle().child("part", Kind::Internal);
        assert!(root.handle().traceparent().ends_with("-00"));
        assert_eq!(root.handle().trace_id(), child.handle().trace_id());
        let theirs = tracer.root("request", Kind::Server, Some(context(false)));
        drop((child, root, theirs));
        assert!(spans.try_recv().is_err());
        // What a caller wants kept is kept.
        drop(tracer.root("request", Kind::Server, Some(context(true))));
        assert!(spans.try_recv().is_ok());
    }

    #[test]
    fn a_full_buffer_costs_spans_and_they_are_counted() {
        let dropped = IntCounter::new("d", "d").unwrap();
        let (tracer, _spans) = Tracer::new(1.0, 1, Some(dropped.clone()));
        (0..3).for_each(|_| drop(tracer.root("request", Kind::Server, None)));
        assert_eq!(dropped.get(), 2);
    }

    #[tokio::test]
    async fn a_task_knows_what_it_works_for() {
        assert_eq!(current().context(), None);
        let (tracer, _spans) = Tracer::new(1.0, 8, None);
        let span = tracer.root("job", Kind::Consumer, None);
        let seen = within(span.handle(), async { current().context() }).await;
        assert_eq!(seen, span.handle().context());
    }
}
