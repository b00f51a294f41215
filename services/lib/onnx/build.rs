//! Compiles `proto/onnx/onnx.proto`: the messages, and a table of every field in it, by which the reader notices
//! a file that holds more than this build knows.

use std::{collections::HashMap, env, error::Error, fmt::Write as _, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let proto = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../../proto/onnx");
    println!("cargo:rerun-if-changed={}", proto.display());
    let files = protox::compile([proto.join("onnx.proto")], [&proto])?;

    // Messages by full name, nested ones included, with their fields: number, and name of the message inside.
    let mut todo: Vec<_> = files.file[0].message_type.iter().map(|m| (format!(".onnx.{}", m.name()), m)).collect();
    let mut messages = Vec::new();
    while let Some((name, m)) = todo.pop() {
        todo.extend(m.nested_type.iter().map(|n| (format!("{name}.{}", n.name()), n)));
        messages.push((name, m));
    }
    messages.sort_by(|a, b| a.0.cmp(&b.0));
    let index: HashMap<_, _> = messages.iter().enumerate().map(|(i, (name, _))| (name.as_str(), i)).collect();

    let mut table = String::from("static SCHEMA: &[Message] = &[\n");
    for (name, m) in &messages {
        let fields: Vec<_> = m.field.iter().map(|f| (f.number(), index.get(f.type_name()).copied())).collect();
        writeln!(table, "    ({:?}, &{fields:?}),", name.trim_start_matches(".onnx."))?;
    }
    writeln!(table, "];\nconst MODEL: usize = {};", index[".onnx.ModelProto"])?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("schema.rs"), table)?;

    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
