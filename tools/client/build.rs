//! Generates the client half of the services from the node's protobuf files, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "xfer/v1/error.proto",
        "xfer/v1/file_service.proto",
        "xfer/v1/transfer_service.proto",
        "xfer/v1/bench_service.proto",
    ];
    println!("cargo:rerun-if-changed=../node/proto");
    let descriptors = protox::compile(files, ["../node/proto"])?;
    tonic_prost_build::configure().build_client(true).build_server(false).compile_fds(descriptors)?;
    Ok(())
}
