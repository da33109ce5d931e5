//! What the programs' maps hold, as values: the structures of `programs/*.h` field by field.
//!
//! They cross the border as arrays of words, so that no code here trusts a layout that a compiler chose.

use crate::limits::GAP_BUCKETS;

/// Words of the XDP program's settings.
pub(crate) type SettingsWords = [u64; 4];
/// Words of [`Row`].
pub(crate) type RowWords = [u64; ROW_WORDS];
/// Words of an entry of `orders`: queue and row, expected number, time of the last packet and of the last that was timed, arrivals.
pub(crate) type OrderWords = [u64; 5];
/// Words of the fates of one processor.
pub(crate) type FateWords = [u64; Fate::ALL.len()];

/// A row of nothing.
pub(crate) const ROW_ZERO: RowWords = [0; ROW_WORDS];

/// Words of what one processor saw at tcx.
pub(crate) type SeenWords = [u64; Seen::ALL.len()];

const ROW_HEAD: usize = 8;
const ROW_LATE_MAX: usize = 7;
const ROW_WORDS: usize = ROW_HEAD + GAP_BUCKETS;

/// What became of a packet to one of our ports; every packet has one, [`Fate::Untracked`] apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Went to the AF_XDP socket of its queue.
    Redirected,
    /// A handshake, for the kernel's socket.
    Handshake,
    /// Came by another queue than that of the worker that its connection names.
    Misplaced,
    /// Known, but there is no AF_XDP socket at its queue.
    Socketless,
    /// User space gave no sign of life.
    Stale,
    /// Its header is not in one piece.
    Split,
    /// Several packets that were joined before they came here.
    Train,
    /// Has a VLAN tag, thus belongs to another interface above this one.
    Tagged,
    /// Shorter than a header, or than its UDP header says.
    DroppedShort,
    /// Not of this protocol, type or version.
    DroppedKind,
    /// Length does not fit the header's, or not a HELLO's.
    DroppedLength,
    /// Of a connection that is not known.
    DroppedUnknown,
    /// A handshake of a source that sends too many.
    DroppedHandshake,
    /// Known, but there are figures of as many paths as there is room for; counted beside its fate.
    Untracked,
}

impl Fate {
    /// All, in the order of the program's counters.
    pub const ALL: [Fate; 14] = [
        Fate::Redirected,
        Fate::Handshake,
        Fate::Misplaced,
        Fate::Socketless,
        Fate::Stale,
        Fate::Split,
        Fate::Train,
        Fate::Tagged,
        Fate::DroppedShort,
        Fate::DroppedKind,
        Fate::DroppedLength,
        Fate::DroppedUnknown,
        Fate::DroppedHandshake,
        Fate::Untracked,
    ];

    /// What happened, as one word of metrics and JSON: `redirected`, `passed`, `dropped`, `untracked`.
    pub const fn action(self) -> &'static str {
        match self {
            Fate::Redirected => "redirected",
            Fate::Handshake
            | Fate::Misplaced
            | Fate::Socketless
            | Fate::Stale
            | Fate::Split
            | Fate::Train
            | Fate::Tagged => "passed",
            Fate::DroppedShort
            | Fate::DroppedKind
            | Fate::DroppedLength
            | Fate::DroppedUnknown
            | Fate::DroppedHandshake => "dropped",
            Fate::Untracked => "untracked",
        }
    }

    /// Why, as one word of metrics and JSON.
    pub const fn reason(self) -> &'static str {
        match self {
            Fate::Redirected => "known",
            Fate::Handshake | Fate::DroppedHandshake => "handshake",
            Fate::Misplaced => "misplaced",
            Fate::Socketless => "socketless",
            Fate::Stale => "stale",
            Fate::Split => "split",
            Fate::Train => "train",
            Fate::Tagged => "tagged",
            Fate::DroppedShort => "short",
            Fate::DroppedKind => "kind",
            Fate::DroppedLength => "length",
            Fate::DroppedUnknown => "unknown",
            Fate::Untracked => "room",
        }
    }
}

/// How often each fate befell a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates([u64; Fate::ALL.len()]);

impl Fates {
    /// Adds up what each processor counted.
    pub(crate) fn sum<'a>(processors: impl IntoIterator<Item = &'a FateWords>) -> Self {
        Fates(sum(processors))
    }

    /// Packets with this fate.
    pub const fn of(&self, fate: Fate) -> u64 {
        self.0[fate as usize]
    }

    /// All packets to our ports.
    pub fn packets(&self) -> u64 {
        self.iter().filter(|(fate, _)| *fate != Fate::Untracked).map(|(_, packets)| packets).sum()
    }

    /// Every fate with its packets.
    pub fn iter(&self) -> impl Iterator<Item = (Fate, u64)> + '_ {
        Fate::ALL.into_iter().map(|fate| (fate, self.of(fate)))
    }
}

/// What the tcx programs made of a datagram or train with one of our ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Counted for its path.
    Tracked,
    /// Neither DATA nor CONTROL.
    Foreign,
    /// There are figures of as many paths as there is room for.
    Untracked,
}

impl Seen {
    /// All, in the order of the programs' counters.
    pub const ALL: [Seen; 3] = [Seen::Tracked, Seen::Foreign, Seen::Untracked];

    /// One word of metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Seen::Tracked => "tracked",
            Seen::Foreign => "foreign",
            Seen::Untracked => "untracked",
        }
    }
}

/// Where packets of a path were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Coming in, by the XDP program.
    Xdp,
    /// Coming in, by tcx, behind XDP.
    Ingress,
    /// Going out, by tcx.
    Egress,
}

impl Point {
    /// All, in the order of the programs' numbers.
    pub const ALL: [Point; 3] = [Point::Xdp, Point::Ingress, Point::Egress];

    /// One word of metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Point::Xdp => "xdp",
            Point::Ingress => "ingress",
            Point::Egress => "egress",
        }
    }

    const fn from_bits(bits: u64) -> Option<Point> {
        match bits {
            0 => Some(Point::Xdp),
            1 => Some(Point::Ingress),
            2 => Some(Point::Egress),
            _ => None,
        }
    }
}

/// A path as packets name it: the receiver's id of the connection, and the path's number (PROTOCOL.md#header).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey {
    /// Connection id, chosen by the end that receives these packets.
    pub connection: u32,
    /// Path number.
    pub path: u16,
    /// Where its packets were seen.
    pub point: Point,
}

impl PathKey {
    /// The key of the map; none of a point that this code does not know.
    pub(crate) const fn from_word(word: u64) -> Option<Self> {
        match Point::from_bits(word >> 48) {
            Some(point) => Some(PathKey { connection: word as u32, path: (word >> 32) as u16, point }),
            None => None,
        }
    }
}

/// Row of an entry of `orders`.
pub(crate) const fn order_row(order: &OrderWords) -> u32 {
    (order[0] >> 32) as u32
}

/// When the path's last packet came, by the monotonic clock.
pub(crate) const fn order_last_ns(order: &OrderWords) -> u64 {
    order[2]
}

/// A path and its figures.
pub type PathRow = (PathKey, Row);

/// Figures of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Packets.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Packets that came at once count as one.
    pub arrivals: u64,
    /// The measured times between two arrivals together, in nanoseconds.
    pub waited_ns: u64,
    /// Times that numbers were missing when a later one came.
    pub gaps: u64,
    /// Numbers that were missing then; late ones among them came after all, and a sender leaves a few out on purpose.
    pub missing: u64,
    /// Packets that came after one with a higher number.
    pub late: u64,
    /// The largest distance of these, in numbers.
    pub late_max: u64,
    /// Times between two arrivals, of which one in [`TIMED_EVERY`](crate::limits::TIMED_EVERY) is measured: below 128 ns, then a bucket for each doubling, the last without an end.
    pub between: [u64; GAP_BUCKETS],
}

impl Row {
    /// Adds the figures of another path, or of the same one later; of the two largest distances the larger stays.
    pub(crate) fn add(&mut self, other: &Row) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.arrivals += other.arrivals;
        self.waited_ns += other.waited_ns;
        self.gaps += other.gaps;
        self.missing += other.missing;
        self.late += other.late;
        self.late_max = self.late_max.max(other.late_max);
        for (sum, count) in self.between.iter_mut().zip(&other.between) {
            *sum += count;
        }
    }

    /// Where the bucket ends, in nanoseconds, within which `part` (0 to 1) of the arrivals came after the one before. None for the last,
    /// which has no end.
    pub fn between_quantile(&self, part: f64) -> Option<u64> {
        let all: u64 = self.between.iter().sum();
        let wanted = (all as f64 * part).ceil() as u64;
        let mut below = 0;
        let within = self.between.iter().position(|count| {
            below += count;
            below >= wanted
        });
        within.and_then(bucket_end_ns)
    }

    /// Adds up the rows of all processors; the largest distance is the largest of any.
    pub(crate) fn sum(processors: &[RowWords]) -> Self {
        let words = sum(processors);
        let mut between = [0; GAP_BUCKETS];
        between.copy_from_slice(&words[ROW_HEAD..]);
        Row {
            packets: words[0],
            bytes: words[1],
            arrivals: words[2],
            waited_ns: words[3],
            gaps: words[4],
            missing: words[5],
            late: words[6],
            late_max: processors.iter().map(|row| row[ROW_LATE_MAX]).max().unwrap_or_default(),
            between,
        }
    }
}

/// Where bucket `index` of [`Row::between`] ends, in nanoseconds; none for the last, which has no end.
pub const fn bucket_end_ns(index: usize) -> Option<u64> {
    if index + 1 < GAP_BUCKETS { Some(1 << (crate::limits::GAP_SHIFT as usize + index)) } else { None }
}

/// What stands directly before a frame that the program redirected: 16 bytes, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// When the program saw the frame, by the monotonic clock.
    pub received_ns: u64,
    /// Where the UDP payload begins, in bytes from the frame's start.
    pub payload_at: u32,
}

/// Bytes of [`Meta`] in memory.
pub const META_LEN: usize = 16;

impl Meta {
    /// Reads the bytes before a frame. None when they are not what the program writes, as where a driver leaves it no room; old ones of
    /// an earlier frame may stand there then, so a time that is long past is to be mistrusted.
    pub fn decode(before: &[u8; META_LEN]) -> Option<Meta> {
        let (received, rest) = before.split_first_chunk::<8>()?;
        let (payload_at, rest) = rest.split_first_chunk::<4>()?;
        let magic = u32::from_le_bytes(*rest.first_chunk()?);
        (magic == crate::limits::META_MAGIC).then(|| Meta {
            received_ns: u64::from_le_bytes(*received),
            payload_at: u32::from_le_bytes(*payload_at),
        })
    }
}

pub(crate) fn sum<'a, const N: usize>(processors: impl IntoIterator<Item = &'a [u64; N]>) -> [u64; N] {
    let mut total = [0_u64; N];
    for words in processors {
        for (sum, word) in total.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_add_up_and_keep_the_largest_distance() {
        let mut one = [0; ROW_WORDS];
        one[0] = 3;
        one[ROW_LATE_MAX] = 9;
        one[ROW_HEAD] = 1;
        let mut two = [1; ROW_WORDS];
        two[ROW_LATE_MAX] = 4;
        let row = Row::sum(&[one, two]);
        assert_eq!((row.packets, row.bytes, row.late_max, row.between[0]), (4, 1, 9, 2));
        assert_eq!(Row::sum(&[]), Row::default());
        let mut twice = row;
        twice.add(&row);
        assert_eq!((twice.packets, twice.bytes, twice.late_max, twice.between[0]), (8, 2, 9, 4));
    }

    #[test]
    fn keys_are_read_as_the_program_writes_them() {
        let word = 0x0002_0fff_8000_0001_u64;
        let expected = PathKey { connection: 0x8000_0001, path: 4_095, point: Point::Egress };
        assert_eq!(PathKey::from_word(word), Some(expected));
        assert_eq!(PathKey::from_word(3 << 48), None);
    }

    #[test]
    fn buckets_end_at_doublings() {
        assert_eq!(bucket_end_ns(0), Some(128));
        assert_eq!(bucket_end_ns(GAP_BUCKETS - 2), Some(1 << 29));
        assert_eq!(bucket_end_ns(GAP_BUCKETS - 1), None);
    }

    #[test]
    fn quantiles_are_ends_of_buckets() {
        let mut row = Row::default();
        assert_eq!(row.between_quantile(0.5), Some(128));
        row.between[1] = 1;
        row.between[GAP_BUCKETS - 1] = 1;
        assert_eq!((row.between_quantile(0.5), row.between_quantile(0.51)), (Some(256), None));
    }

    #[test]
    fn fates_count_packets_once() {
        let mut words = [0; Fate::ALL.len()];
        words[Fate::Redirected as usize] = 5;
        words[Fate::Untracked as usize] = 2;
        let fates = Fates::sum([&words, &words]);
        assert_eq!((fates.packets(), fates.of(Fate::Untracked)), (10, 4));
    }

    #[test]
    fn meta_without_the_mark_is_none() {
        let mut bytes = [0; META_LEN];
        bytes[0] = 7;
        bytes[8] = 42;
        assert_eq!(Meta::decode(&bytes), None);
        bytes[12..].copy_from_slice(&crate::limits::META_MAGIC.to_le_bytes());
        assert_eq!(Meta::decode(&bytes), Some(Meta { received_ns: 7, payload_at: 42 }));
    }
}
