//! Random bytes, and the connection ids that are made of them.

use xfer_proto::wire::ConnectionId;

/// 32 bytes from the system's generator.
#[expect(
    clippy::expect_used,
    reason = "without random bytes nothing can be kept secret, and the kernel always has some"
)]
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has a random generator");
    bytes
}

/// A connection id for worker `worker`: 26 random bits and the worker in the low 6.
pub(crate) fn connection_id(worker: usize) -> ConnectionId {
    let random = random();
    let bits = u32::from_le_bytes([random[0], random[1], random[2], random[3]]);
    ConnectionId(bits & !0x3f | worker as u32 & 0x3f)
}
