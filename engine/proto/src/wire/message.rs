//! The messages of the control stream (PROTOCOL.md#control-stream).

use super::cursor::Put;
use super::{ErrorBody, Malformed, Page, Reader, TransferId};
use crate::limits;
use alloc::vec::Vec;

/// Which end of a transfer the opener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Role {
    Sender,
    Receiver,
}

/// First message of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The new transfer.
    pub transfer: TransferId,
    /// What the opener is in it.
    pub role: Role,
    /// log2 of the chunk size.
    pub chunk_log2: u8,
    /// Whether content is verified by BLAKE3 digests.
    pub digests: bool,
}

/// Chunks `first .. first + count` of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First chunk, counted in the object.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What the receiver wants of one object (PROTOCOL.md#decisions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All of its content, or it was taken as listed.
    Need,
    /// Nothing: it is here already.
    Skip,
    /// What is not in these runs of chunks, ascending and disjoint.
    Resume(Vec<Run>),
    /// Nothing: it cannot be received.
    Fail(ErrorBody),
}

/// Decisions for consecutive entries of one page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's")]
pub struct Decisions {
    pub transfer: TransferId,
    pub page: u32,
    pub first_entry: u16,
    pub decisions: Vec<Decision>,
}

/// How a chunk's stored bytes become its plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's table")]
pub enum Codec {
    Plain,
    Lz4,
    Zstd,
    Extents,
}

/// A chunk's control entry (PROTOCOL.md#chunk-entries).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The transfer.
    pub transfer: TransferId,
    /// Chunk of the address space.
    pub chunk: u32,
    /// 0, raised for each new encoding.
    pub attempt: u8,
    /// Form of the stored bytes.
    pub codec: Codec,
    /// How many bytes DATA carries.
    pub stored_len: u32,
    /// Chaining value or roots of the plain bytes; empty without digests.
    pub digests: Vec<[u8; 32]>,
}

/// How an object ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoneStatus {
    /// All of its content came now.
    Copied,
    /// Some of it was there already: this many bytes.
    Resumed(u64),
    /// It is not there.
    Failed(ErrorBody),
}

/// Objects that ended (PROTOCOL.md#done).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's")]
pub struct Done {
    pub transfer: TransferId,
    pub objects: Vec<(u32, DoneStatus)>,
}

/// When bytes count as safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the kernel has them.
    None,
    /// Made durable together before the transfer is complete.
    Batch,
    /// Each file made durable before it gets its name.
    File,
}

impl Durability {
    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::None => "none",
            Durability::Batch => "batch",
            Durability::File => "file",
        }
    }
}

/// The acceptor takes part in a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The transfer.
    pub transfer: TransferId,
    /// Chunks below it are granted from the start, whatever is laid out there; 0 when the acceptor sends. At most
    /// [`limits::WINDOW_CHUNKS_MAX`].
    pub limit: u32,
}

/// The receiver has ended the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    /// The transfer.
    pub transfer: TransferId,
    /// Whether some object failed.
    pub some_failed: bool,
    /// What was kept of the promise.
    pub durability: Durability,
}

/// One message of the control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's table")]
pub enum Message {
    Open(Open),
    Accept(Accept),
    Page(Page),
    Decision(Decisions),
    Chunk(Chunk),
    Reject { transfer: TransferId, chunk: u32, attempt: u8 },
    Withdraw { transfer: TransferId, object: u32, error: ErrorBody },
    Done(Done),
    Complete(Complete),
    Cancel { transfer: TransferId, error: ErrorBody },
    End { transfer: TransferId, object: u32, size: u64 },
    Limit { transfer: TransferId, now: u8, all: u8 },
}

impl Message {
    /// Bytes of a message before its body.
    pub const HEAD_LEN: usize = 4;

    /// Appends the message to a control stream. A body above [`limits::MESSAGE_LEN_MAX`] is a bug and panics.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "the head was put at `start` before"
    )]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.number(), 0, 0, 0]);
        match self {
            Message::Open(open) => {
                out.put_u32(open.transfer.0);
                out.put_u8(if open.role == Role::Sender { 1 } else { 2 });
                out.put_u8(open.chunk_log2);
                out.put_u8(u8::from(open.digests));
                out.put_u8(0);
            }
            Message::Accept(accept) => {
                out.put_u32(accept.transfer.0);
                out.put_u32(accept.limit);
            }
            Message::Page(page) => page.encode(out),
            Message::Decision(decisions) => decisions.encode(out),
            Message::Chunk(chunk) => chunk.encode(out),
            Message::Reject { transfer, chunk, attempt } => {
                out.put_u32(transfer.0);
                out.put_u32(*chunk);
                out.put_u8(*attempt);
            }
            Message::Withdraw { transfer, object, error } => {
                out.put_u32(transfer.0);
                out.put_u32(*object);
                error.encode(out);
            }
            Message::Done(done) => done.encode(out),
            Message::Complete(complete) => {
                out.put_u32(complete.transfer.0);
                out.put_u8(u8::from(complete.some_failed));
                out.put_u8(complete.durability as u8);
            }
            Message::Cancel { transfer, error } => {
                out.put_u32(transfer.0);
                error.encode(out);
            }
            Message::End { transfer, object, size } => {
                out.put_u32(transfer.0);
                out.put_u32(*object);
                out.put_u64(*size);
            }
            Message::Limit { transfer, now, all } => {
                out.put_u32(transfer.0);
                out.put_u8(*now);
                out.put_u8(*all);
            }
        }
        let len = out.len() - start - Self::HEAD_LEN;
        assert!(len <= limits::MESSAGE_LEN_MAX, "message body of {len} bytes");
        out[start + 1..start + 4].copy_from_slice(&(len as u32).to_le_bytes()[..3]);
    }

    /// Whether the stream's first bytes hold a whole message: its type and the length of its body.
    ///
    /// # Errors
    /// [`Malformed`] when the body is longer than any message's.
    pub fn head(stream: &[u8]) -> Result<Option<(u8, usize)>, Malformed> {
        let Some(&[number, a, b, c]) = stream.first_chunk() else { return Ok(None) };
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        if len > limits::MESSAGE_LEN_MAX {
            return Err(Malformed::new("message length"));
        }
        Ok((stream.len().saturating_sub(Self::HEAD_LEN) >= len).then_some((number, len)))
    }

    /// Decodes the body of a message of type `number`.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(number: u8, body: &[u8]) -> Result<Message, Malformed> {
        Self::decode_into(number, body, &mut Vec::new())
    }

    /// As [`Message::decode`]; the digests of a chunk are put into one of the `spare` lists, which are empty.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode_into(
        number: u8,
        body: &[u8],
        spare: &mut Vec<Vec<[u8; 32]>>,
    ) -> Result<Message, Malformed> {
        let mut r = Reader::new(body);
        let message = match number {
            1 => Message::Open(Open::decode(&mut r)?),
            2 => Message::Accept(Accept::decode(&mut r)?),
            3 => Message::Page(Page::decode(&mut r)?),
            4 => Message::Decision(Decisions::decode(&mut r)?),
            5 => Message::Chunk(Chunk::decode(&mut r, spare)?),
            6 => Message::Reject {
                transfer: TransferId(r.u32("reject transfer")?),
                chunk: r.u32("reject chunk")?,
                attempt: r.u8("reject attempt")?,
            },
            7 => Message::Withdraw {
                transfer: TransferId(r.u32("withdraw transfer")?),
                object: r.u32("withdraw object")?,
                error: ErrorBody::decode(&mut r)?,
            },
            8 => Message::Done(Done::decode(&mut r)?),
            9 => Message::Complete(Complete::decode(&mut r)?),
            10 => Message::Cancel {
                transfer: TransferId(r.u32("cancel transfer")?),
                error: ErrorBody::decode(&mut r)?,
            },
            11 => Message::End {
                transfer: TransferId(r.u32("end transfer")?),
                object: r.u32("end object")?,
                size: r.u64("end size")?,
            },
            12 => Message::Limit {
                transfer: TransferId(r.u32("limit transfer")?),
                now: r.u8("limit now")?,
                all: r.u8("limit in all")?,
            },
            _ => return Err(Malformed::new("message type")),
        };
        r.finish("message with bytes left over")?;
        Ok(message)
    }

    /// The transfer that the message is about.
    pub fn transfer(&self) -> TransferId {
        match self {
            Message::Open(open) => open.transfer,
            Message::Page(page) => page.transfer,
            Message::Decision(decisions) => decisions.transfer,
            Message::Chunk(chunk) => chunk.transfer,
            Message::Done(done) => done.transfer,
            Message::Complete(complete) => complete.transfer,
            Message::Accept(accept) => accept.transfer,
            Message::Reject { transfer, .. }
            | Message::Withdraw { transfer, .. }
            | Message::Cancel { transfer, .. }
            | Message::End { transfer, .. }
            | Message::Limit { transfer, .. } => *transfer,
        }
    }

    fn number(&self) -> u8 {
        match self {
            Message::Open(_) => 1,
            Message::Accept(_) => 2,
            Message::Page(_) => 3,
            Message::Decision(_) => 4,
            Message::Chunk(_) => 5,
            Message::Reject { .. } => 6,
            Message::Withdraw { .. } => 7,
            Message::Done(_) => 8,
            Message::Complete(_) => 9,
            Message::Cancel { .. } => 10,
            Message::End { .. } => 11,
            Message::Limit { .. } => 12,
        }
    }
}

impl Accept {
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("accept transfer")?);
        let limit = r.u32("accept limit")?;
        if limit > limits::WINDOW_CHUNKS_MAX {
            return Err(Malformed::new("accept limit"));
        }
        Ok(Accept { transfer, limit })
    }
}

impl Open {
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("open transfer")?);
        let role = match r.u8("open role")? {
            1 => Role::Sender,
            2 => Role::Receiver,
            _ => return Err(Malformed::new("open role")),
        };
        let chunk_log2 = r.u8("open chunk size")?;
        if !(limits::CHUNK_LOG2_MIN..=limits::CHUNK_LOG2_MAX).contains(&chunk_log2) {
            return Err(Malformed::new("open chunk size"));
        }
        let digests = match r.u8("open digest")? {
            0 => false,
            1 => true,
            _ => return Err(Malformed::new("open digest")),
        };
        r.u8("open reserved")?;
        Ok(Open { transfer, role, chunk_log2, digests })
    }
}

impl Decisions {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.transfer.0);
        out.put_u32(self.page);
        out.put_u16(self.first_entry);
        out.put_u16(self.decisions.len() as u16);
        for decision in &self.decisions {
            match decision {
                Decision::Need => out.put_u8(0),
                Decision::Skip => out.put_u8(1),
                Decision::Resume(runs) => {
                    out.put_u8(2);
                    out.put_u16(runs.len() as u16);
                    for run in runs {
                        out.put_u32(run.first);
                        out.put_u32(run.count);
                    }
                }
                Decision::Fail(error) => {
                    out.put_u8(3);
                    error.encode(out);
                }
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("decision transfer")?);
        let page = r.u32("decision page")?;
        let first_entry = r.u16("decision first entry")?;
        let count = usize::from(r.u16("decision count")?);
        if count > limits::PAGE_ENTRIES_MAX {
            return Err(Malformed::new("decision count"));
        }
        let mut decisions = Vec::new();
        for _ in 0..count {
            decisions.push(match r.u8("decision action")? {
                0 => Decision::Need,
                1 => Decision::Skip,
                2 => Decision::Resume(decode_runs(r)?),
                3 => Decision::Fail(ErrorBody::decode(r)?),
                _ => return Err(Malformed::new("decision action")),
            });
        }
        Ok(Decisions { transfer, page, first_entry, decisions })
    }
}

fn decode_runs(r: &mut Reader<'_>) -> Result<Vec<Run>, Malformed> {
    let count = usize::from(r.u16("resume runs")?);
    if count > limits::RESUME_RUNS_MAX {
        return Err(Malformed::new("resume runs"));
    }
    let mut runs = Vec::new();
    let mut end = 0;
    for i in 0..count {
        let run = Run { first: r.u32("resume run")?, count: r.u32("resume run")? };
        if run.count == 0 || (i > 0 && run.first <= end) {
            return Err(Malformed::new("resume run"));
        }
        end = run.first.checked_add(run.count).ok_or(Malformed::new("resume run"))?;
        runs.push(run);
    }
    Ok(runs)
}

impl Chunk {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.transfer.0);
        out.put_u32(self.chunk);
        out.put_u8(self.attempt);
        out.put_u8(self.codec as u8);
        out.put_u32(self.stored_len);
        out.put_u16(self.digests.len() as u16);
        for digest in &self.digests {
            out.extend_from_slice(digest);
        }
    }

    fn decode(r: &mut Reader<'_>, spare: &mut Vec<Vec<[u8; 32]>>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("chunk transfer")?);
        let chunk = r.u32("chunk number")?;
        let attempt = r.u8("chunk attempt")?;
        let codec = match r.u8("chunk codec")? {
            0 => Codec::Plain,
            1 => Codec::Lz4,
            2 => Codec::Zstd,
            3 => Codec::Extents,
            _ => return Err(Malformed::new("chunk codec")),
        };
        let stored_len = r.u32("chunk stored length")?;
        let count = usize::from(r.u16("chunk digest count")?);
        if count > limits::CHUNK_DIGESTS_MAX {
            return Err(Malformed::new("chunk digest count"));
        }
        let mut digests = spare.pop().unwrap_or_default();
        digests.reserve_exact(count.min(r.len() / 32));
        for _ in 0..count {
            digests.push(r.array("chunk digest")?);
        }
        Ok(Chunk { transfer, chunk, attempt, codec, stored_len, digests })
    }
}

impl Done {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.transfer.0);
        out.put_u16(self.objects.len() as u16);
        for (object, status) in &self.objects {
            out.put_u32(*object);
            match status {
                DoneStatus::Copied => out.put_u8(0),
                DoneStatus::Resumed(bytes) => {
                    out.put_u8(1);
                    out.put_u64(*bytes);
                }
                DoneStatus::Failed(error) => {
                    out.put_u8(2);
                    error.encode(out);
                }
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("done transfer")?);
        let count = r.u16("done count")?;
        let mut objects = Vec::new();
        for _ in 0..count {
            let object = r.u32("done object")?;
            let status = match r.u8("done status")? {
                0 => DoneStatus::Copied,
                1 => DoneStatus::Resumed(r.u64("done reused")?),
                2 => DoneStatus::Failed(ErrorBody::decode(r)?),
                _ => return Err(Malformed::new("done status")),
            };
            objects.push((object, status));
        }
        Ok(Done { transfer, objects })
    }
}

impl Complete {
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("complete transfer")?);
        let some_failed = match r.u8("complete status")? {
            0 => false,
            1 => true,
            _ => return Err(Malformed::new("complete status")),
        };
        let durability = match r.u8("complete durability")? {
            0 => Durability::None,
            1 => Durability::Batch,
            2 => Durability::File,
            _ => return Err(Malformed::new("complete durability")),
        };
        Ok(Complete { transfer, some_failed, durability })
    }
}
