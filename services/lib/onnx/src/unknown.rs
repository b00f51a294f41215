//! Walks the raw encoding beside the table of known fields: a protobuf decoder skips what it does not know, and a
//! model that is written again would have lost it without a word. Caller: `read`.

use crate::OnnxError;

/// Name of a message and its fields: number, and index of the message inside.
type Message = (&'static str, &'static [(i32, Option<usize>)]);

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// Refuses an encoded `ModelProto` with a field that `onnx.proto` does not list, at any depth.
pub(crate) fn refuse_unknown_fields(bytes: &[u8]) -> Result<(), OnnxError> {
    // A list instead of recursion: depth is the file's to choose.
    let mut todo = vec![(MODEL, bytes)];
    while let Some((message, mut rest)) = todo.pop() {
        let (name, fields) = SCHEMA[message];
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let number = u32::try_from(key >> 3).map_err(|_| damaged())?;
            let known = fields.iter().find(|(n, _)| u32::try_from(*n) == Ok(number));
            let Some((_, inner)) = known else { return Err(OnnxError::UnknownField { message: name, field: number }) };
            let payload = skip(&mut rest, key & 7)?;
            if let (Some(inner), Some(payload)) = (inner, payload) {
                todo.push((*inner, payload));
            }
        }
    }
    Ok(())
}

fn damaged() -> OnnxError {
    OnnxError::NotOnnx("damaged field".into())
}

/// Steps over one value; returns the bytes of a length-delimited one.
fn skip<'a>(rest: &mut &'a [u8], wire_type: u64) -> Result<Option<&'a [u8]>, OnnxError> {
    let len = match wire_type {
        0 => return varint(rest).map(|_| None),
        1 => 8,
        2 => usize::try_from(varint(rest)?).map_err(|_| damaged())?,
        5 => 4,
        _ => return Err(damaged()),
    };
    let (payload, after) = rest.split_at_checked(len).ok_or_else(damaged)?;
    *rest = after;
    Ok((wire_type == 2).then_some(payload))
}

fn varint(rest: &mut &[u8]) -> Result<u64, OnnxError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or_else(damaged)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode, proto::*};
    use proptest::prelude::*;

    fn tiny() -> ModelProto {
        let node = NodeProto { op_type: Some("Relu".into()), input: vec!["x".into()], ..Default::default() };
        ModelProto {
            ir_version: Some(8),
            graph: Some(GraphProto { node: vec![node], ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_field_from_the_future_is_refused_at_any_depth() {
        // Field 99, varint 1: once in the model, once in the node inside the graph.
        let future = [0x98, 0x06, 0x01];
        let outer = [encode(&tiny()), future.to_vec()].concat();
        assert_eq!(decode(&outer), Err(OnnxError::UnknownField { message: "ModelProto", field: 99 }));
        let node = [vec![0x22, 4], b"Relu".to_vec(), future.to_vec()].concat();
        let graph = [vec![0x0a, u8::try_from(node.len()).unwrap()], node].concat();
        let model = [vec![0x3a, u8::try_from(graph.len()).unwrap()], graph].concat();
        assert_eq!(decode(&model), Err(OnnxError::UnknownField { message: "NodeProto", field: 99 }));
        assert_eq!(decode(&encode(&tiny())), Ok(tiny()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = refuse_unknown_fields(&bytes);
        }

        #[test]
        fn a_cut_file_is_an_error_or_a_shorter_model(cut in 0usize..14) {
            let whole = encode(&tiny());
            if let Ok(m) = decode(&whole[..cut.min(whole.len())]) { prop_assert_ne!(m, tiny()); }
        }
    }
}
