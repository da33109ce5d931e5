//! Named bounds of the comparison, with their relations asserted.

use std::time::Duration;

/// How long a serving program may take until it can be reached.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// How often that is looked at.
pub(crate) const READY_POLL: Duration = Duration::from_millis(2);
/// How long one copy may take before it is cut short, unless its workload says otherwise.
pub(crate) const COPY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long the copy of a small file may take that shows whether a peer works at all.
pub(crate) const TRY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long everything may take to come down after a signal.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(30);
/// How often memory is sampled during a copy.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// How often a cold copy's target is looked for: this is the resolution of cold figures.
pub(crate) const COLD_POLL: Duration = Duration::from_micros(200);
/// Bytes of the file by which a peer shows that it works.
pub(crate) const TRY_BYTES: u64 = 64 << 10;
/// Memory kept for content, bytes: a copy of the largest file, its limit's two files, and what the tools take.
pub(crate) const KEPT_BYTES_MAX: u64 = 10 << 30;
/// Bytes written and compared at a time.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// Rounds that a case has whatever its budget says.
pub(crate) const ROUNDS_MIN: u32 = 2;
/// Ports of one run, from its base port on: no run meets what another left behind.
pub(crate) const PORTS_OF_RUN: u16 = 8;
/// First and last base port; below the kernel's own range for clients.
pub(crate) const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Characters of an error that a line of the table shows.
pub(crate) const CAUSE_CHARS_MAX: usize = 160;
/// Largest TCP buffers that the hosts allow, bytes, so that no peer is held by them.
pub(crate) const TCP_BUFFER_BYTES_MAX: u64 = 64 << 20;
/// What a wire that is held to a rate lets out at once, bytes, as tc reads them: two trains. And what may wait there.
pub(crate) const HOLD_BURST_BYTES: &str = "131072";
pub(crate) const HOLD_QUEUE_BYTES: &str = "1048576";

const _: () = assert!(PORTS.end - PORTS.start > 1_000 * PORTS_OF_RUN);
const _: () = assert!(COLD_POLL.as_nanos() < SAMPLE_EVERY.as_nanos());
