//! Work done for several requests together: a span of its own, linked to each request's, and in each request's trace a
//! span that is linked back. Made by the worker's batcher.

use std::time::Instant;

use crate::{Handle, Span, SpanContext};

/// A batch that runs; over when this is dropped.
pub struct Joint {
    span: Span,
    name: &'static str,
    began: Instant,
    members: Vec<Handle>,
}

impl Joint {
    /// Begins a run of `model` for those of the requests that are kept.
    #[must_use]
    pub fn begin(name: &'static str, model: &'static str, of: impl Iterator<Item = Handle>) -> Self {
        let mut items = 0_i32;
        let members: Vec<Handle> = of.inspect(|_| items += 1).filter(Handle::is_recorded).collect();
        let links: Vec<SpanContext> = members.iter().filter_map(Handle::context).collect();
        let mut span = members.first().cloned().unwrap_or_default().joint(name, links);
        span.set("visavis.batch.size", i64::from(items));
        span.set("visavis.model", model);
        Self { span, name, began: Instant::now(), members }
    }
}

impl Drop for Joint {
    fn drop(&mut self) {
        let (took, batch) = (self.began.elapsed(), self.span.handle().context());
        for member in &self.members {
            member.past_with(self.name, took, batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Tracer, Value};

    #[test]
    fn a_batch_and_its_requests_are_linked_both_ways() {
        let (tracer, mut spans) = Tracer::new(1.0, 16, None);
        let requests: Vec<Span> = (0..2).map(|_| tracer.root("job", Kind::Consumer, None)).collect();
        let members = requests.iter().map(Span::handle).chain([Handle::default()]);
        drop(Joint::begin("batch", "embedder", members));
        let ended: Vec<_> = std::iter::from_fn(|| spans.try_recv().ok()).collect();
        let [one, other, batch] = &ended[..] else { panic!("{ended:?}") };
        let asked: Vec<_> = requests.iter().filter_map(|r| r.handle().context()).collect();
        assert_eq!((&batch.links, batch.parent), (&asked, None));
        assert_eq!(batch.attributes, [("visavis.batch.size", Value::Number(3)), ("visavis.model", "embedder".into())]);
        for (share, request) in [one, other].into_iter().zip(&asked) {
            assert_eq!((share.parent, share.context.trace), (Some(request.span), request.trace));
            assert_eq!(share.links, [batch.context]);
        }
    }

    #[test]
    fn a_batch_of_requests_that_are_not_kept_is_not_kept() {
        let (tracer, mut spans) = Tracer::new(0.0, 16, None);
        let request = tracer.root("job", Kind::Consumer, None);
        drop(Joint::begin("batch", "embedder", [request.handle(), Handle::default()].into_iter()));
        assert!(spans.try_recv().is_err());
    }
}
