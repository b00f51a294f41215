//! Numbers in and out of constant tensors, whichever of the format's two places they lie in.
//! Callers: rewrites, training and compression tools.

use crate::{
    OnnxError,
    proto::{TensorProto, tensor_proto::DataType},
};

/// The elements of an `f32` tensor, row-major.
///
/// # Errors
/// Another element type, or data that does not fit the shape.
pub fn f32_data(t: &TensorProto) -> Result<Vec<f32>, OnnxError> {
    expect_type(t, DataType::Float, "is not of type f32")?;
    let data = match &t.raw_data {
        Some(raw) => raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        None => t.float_data.clone(),
    };
    expect_len(t, &data)?;
    Ok(data)
}

/// The elements of an `i64` tensor, row-major.
///
/// # Errors
/// Another element type, or data that does not fit the shape.
pub fn i64_data(t: &TensorProto) -> Result<Vec<i64>, OnnxError> {
    expect_type(t, DataType::Int64, "is not of type i64")?;
    let eight = |b: &[u8]| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    let data = match &t.raw_data {
        Some(raw) => raw.chunks_exact(8).map(eight).collect(),
        None => t.int64_data.clone(),
    };
    expect_len(t, &data)?;
    Ok(data)
}

/// A named `f32` tensor of the given shape, stored raw.
#[must_use]
pub fn f32_tensor(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    raw_tensor(name, dims, DataType::Float, raw)
}

/// A named `i64` tensor of the given shape, stored raw.
#[must_use]
pub fn i64_tensor(name: &str, dims: &[i64], data: &[i64]) -> TensorProto {
    let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    raw_tensor(name, dims, DataType::Int64, raw)
}

/// A named `i32` tensor of the given shape, stored raw.
#[must_use]
pub fn i32_tensor(name: &str, dims: &[i64], data: &[i32]) -> TensorProto {
    let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    raw_tensor(name, dims, DataType::Int32, raw)
}

/// A named `i8` tensor of the given shape, stored raw.
#[must_use]
pub fn i8_tensor(name: &str, dims: &[i64], data: &[i8]) -> TensorProto {
    let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    raw_tensor(name, dims, DataType::Int8, raw)
}

/// A named tensor of the given type and shape from its bytes, little-endian and row-major.
#[must_use]
pub fn raw_tensor(name: &str, dims: &[i64], data_type: DataType, raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(data_type.into()),
        raw_data: Some(raw),
        ..Default::default()
    }
}

fn expect_type(t: &TensorProto, wanted: DataType, why: &'static str) -> Result<(), OnnxError> {
    if t.data_type() == i32::from(wanted) { Ok(()) } else { Err(OnnxError::BadTensor { name: t.name().into(), why }) }
}

fn expect_len<T>(t: &TensorProto, data: &[T]) -> Result<(), OnnxError> {
    let count = t.dims.iter().try_fold(1usize, |n, d| n.checked_mul(usize::try_from(*d).ok()?));
    let whole = t.raw_data.as_ref().is_none_or(|raw| raw.len() == std::mem::size_of_val(data));
    if whole && count == Some(data.len()) {
        Ok(())
    } else {
        Err(OnnxError::BadTensor { name: t.name().into(), why: "has data that does not fit its shape" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_places_of_the_data_read_alike_and_misfits_are_errors() {
        let raw = f32_tensor("w", &[2, 1], &[1.5, -2.0]);
        let typed = TensorProto { raw_data: None, float_data: vec![1.5, -2.0], ..raw.clone() };
        assert_eq!(f32_data(&raw), Ok(vec![1.5, -2.0]));
        assert_eq!(f32_data(&typed), Ok(vec![1.5, -2.0]));
        assert_eq!(i64_data(&i64_tensor("s", &[2], &[-1, 1 << 40])), Ok(vec![-1, 1 << 40]));
        assert!(i64_data(&raw).is_err());
        for dims in [vec![3], vec![i64::MAX, 4], vec![-2, -1]] {
            assert!(f32_data(&TensorProto { dims, ..raw.clone() }).is_err());
        }
    }
}
