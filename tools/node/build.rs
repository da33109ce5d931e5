//! Generates the server half of the services from `proto/`, without protoc.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["xfer/v1/error.proto", "xfer/v1/file_service.proto", "xfer/v1/transfer_service.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(true)
        .file_descriptor_set_path(out.join("descriptors.bin"))
        .skip_protoc_run()
        .compile_fds(descriptors)?;
    Ok(())
}
