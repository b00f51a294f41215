//! Frames of HTTP/2 (RFC 9113) by hand, with just enough HPACK (RFC 7541) for a request. Used by `hostile`.

/// What a client begins with: the preface and its settings, which are the defaults.
pub fn preface() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut all = length[1..].to_vec();
    all.extend([kind, flags]);
    all.extend(stream.to_be_bytes());
    all.extend(payload);
    all
}

/// The head of `GET path` without a key.
pub fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    block.extend(literal(4, path));
    block.extend(literal(1, "localhost"));
    block
}

/// A field of the static table with a value of its own, not indexed.
fn literal(name: u8, value: &str) -> Vec<u8> {
    let mut field = vec![name, u8::try_from(value.len()).expect("a short value")];
    assert!(value.len() < 127, "longer values have longer lengths");
    field.extend(value.as_bytes());
    field
}

/// A field with a name and a value that no table knows.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127, "longer texts have longer lengths");
        field.push(u8::try_from(text.len()).expect("a short text"));
        field.extend(text.as_bytes());
    }
    field
}

/// Kinds of the frames in what a server sent, whole ones only.
pub fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, ..] = *bytes {
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("a length");
        kinds.push(kind);
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    kinds
}
