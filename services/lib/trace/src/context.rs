//! Where a span stands in its trace, as the W3C recommendation "Trace Context" writes it into the header `traceparent`.
//! Read from callers by the gateway and from envelopes by the worker.

use std::fmt;

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// A span's place: its trace, itself, and whether it is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanContext {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
    pub(crate) sampled: bool,
}

impl SpanContext {
    /// The first span of a trace. Nothing without randomness: it is not worth failing a request for.
    pub(crate) fn fresh(sampled: bool) -> Option<Self> {
        let mut trace = [0; 16];
        getrandom::fill(&mut trace).ok()?;
        Self { trace, span: [0; 8], sampled }.beside()
    }

    /// Another span of the same trace.
    pub(crate) fn beside(self) -> Option<Self> {
        let mut span = [0; 8];
        getrandom::fill(&mut span).ok()?;
        Some(Self { span, ..self })
    }

    /// Reads a `traceparent`; nothing where it does not keep to the recommendation, which says to ignore it then. A later
    /// version may have more at its end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fine = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b) || *b == b'-';
        let head = text.as_bytes().get(..LENGTH)?;
        if !head.iter().all(fine) {
            return None;
        }
        let head = text.get(..LENGTH)?;
        let mut parts = head.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let shaped = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
        let ends = text.len() == LENGTH || (version != "00" && text.as_bytes()[LENGTH] == b'-');
        if !shaped || !ends || version == "ff" {
            return None;
        }
        let mut context = Self { trace: [0; 16], span: [0; 8], sampled: false };
        hex::decode_to_slice(trace, &mut context.trace).ok()?;
        hex::decode_to_slice(span, &mut context.span).ok()?;
        context.sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// The trace's id, for logs.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }
}

/// As `traceparent`.
impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace), hex::encode(self.span), u8::from(self.sampled))
    }
}

impl fmt::Debug for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        let context = SpanContext::parse(GOOD).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.sampled);
        let not = SpanContext::parse(&GOOD.replace("-01", "-00")).unwrap();
        assert!(!not.sampled && not.to_string().ends_with("-00"));
    }

    #[test]
    fn what_the_recommendation_says_to_ignore_is_ignored() {
        let later = GOOD.replacen("00", "01", 1);
        assert!(SpanContext::parse(&later).is_some() && SpanContext::parse(&format!("{later}-more")).is_some());
        for bad in [
            "",
            "00-xyz",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            &format!("{later}more"),
            &GOOD[..54],
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b\u{e9}-1",
        ] {
            assert_eq!(SpanContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans_of_one_trace_differ() {
        let first = SpanContext::fresh(true).unwrap();
        let second = first.beside().unwrap();
        assert_eq!(first.trace, second.trace);
        assert_ne!(first.span, second.span);
        assert_eq!(SpanContext::parse(&second.to_string()), Some(second));
    }
}
