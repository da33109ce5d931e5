//! Calls to a node: bytes of an HTTP body, through gRPC's framing and protobuf's decoder, to the answer of the handler.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use xfer_node::fuzz::Services;

/// Calls of one input.
const CALLS_MAX: usize = 16;
/// What stands before a message: not compressed, and its length.
const FRAME_HEAD_LEN: usize = 5;

/// A small tree, made once for all inputs.
static SERVICES: LazyLock<Services> = LazyLock::new(|| {
    let root = root();
    fs::create_dir_all(root.join("d/e")).expect("make a tree");
    for (name, text) in [("a", "1"), ("d/b", "22"), ("d/e/c", "")] {
        fs::write(root.join(name), text).expect("make a file");
    }
    Services::new(&root).expect("a root")
});

/// Nothing is ever written to it: no transfer begins.
fn root() -> PathBuf {
    std::env::temp_dir().join("xfer-fuzz-root")
}

/// Calls, each a byte for the method, two for the length, and the body; the first bit of the method puts gRPC's head before the body.
pub(crate) fn run(mut input: &[u8]) {
    let mut bodies = Vec::new();
    while let Some((&[method, low, high], rest)) = input.split_first_chunk::<3>()
        && bodies.len() < CALLS_MAX
    {
        let len = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (message, behind) = rest.split_at(len);
        input = behind;
        let mut body = Vec::with_capacity(FRAME_HEAD_LEN + len);
        if method & 128 == 0 {
            body.push(0);
            body.extend_from_slice(&(len as u32).to_be_bytes());
        }
        body.extend_from_slice(message);
        bodies.push((method & 127, body));
    }
    SERVICES.call(bodies.iter().map(|(method, body)| (*method, &body[..])));
}
