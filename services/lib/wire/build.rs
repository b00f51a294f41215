//! Compiles proto/visavis/v1 with a protobuf compiler written in Rust: nothing has to be installed.

use std::{env, error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../../proto");
    println!("cargo:rerun-if-changed={}", root.join("visavis").display());
    let files = [root.join("visavis/v1/common.proto"), root.join("visavis/v1/job.proto")];
    let set = protox::compile(files, [&root])?;
    prost_build::Config::new().bytes(["."]).skip_protoc_run().compile_fds(set)?;
    Ok(())
}
