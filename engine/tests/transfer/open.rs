//! Objects of open length: bytes that come until they end, or break off.

use super::{content, run};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::source::{FileSource, Filter, Location, Preserve, SourceItem, SourceSpec};
use xfer_engine::{Direction, Suite};

const CHUNK: usize = 1 << 16;

fn source(reader: impl Read + Send + 'static) -> FileSource {
    let item = SourceItem {
        location: Location::Stream(Mutex::new(Box::new(reader))),
        name: b"stream".to_vec(),
        shown: b"-".to_vec(),
    };
    let spec = SourceSpec {
        items: vec![item],
        recursive: false,
        filter: Filter::default(),
        preserve: Preserve::default(),
        compression: Compression::None,
        digests: true,
        inline_max: 0,
        list_digests: false,
        want_digests: true,
        cache: None,
    };
    FileSource::new(spec).expect("source")
}

/// What a stream ends with that breaks off.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::EIO))
    }
}

#[test]
fn a_stream_arrives_in_the_smallest_and_the_default_chunks() {
    for (chunk_log2, len) in [(16, 0), (16, 1), (16, CHUNK), (16, CHUNK + 1), (16, 99 * CHUNK), (20, 99)] {
        let bytes = content(len, 3);
        let sink = Arc::new(MemorySink::new(1 << 32, true));
        let source = Arc::new(source(io::Cursor::new(bytes.clone())));
        let ends = run(source, sink.clone(), Direction::OpenerSends, Suite::Aes128Gcm, chunk_log2);
        assert!(ends.iter().all(|end| end.error.is_none()), "{ends:?}");
        assert!(sink.take(b"stream").as_deref() == Some(&bytes[..]), "{len} bytes");
    }
}

/// All that such an object could have had is passed over at once: chunk by chunk it would take a worker minutes.
#[test]
fn a_stream_that_breaks_off_fails_alone_and_soon() {
    for (chunk_log2, len) in [(16, 0), (16, 5 * CHUNK), (20, 3 << 20)] {
        let sink = Arc::new(MemorySink::new(1 << 32, true));
        let source = Arc::new(source(io::Cursor::new(content(len, 3)).chain(Broken)));
        let ends = run(source, sink, Direction::OpenerSends, Suite::Aes128Gcm, chunk_log2);
        for end in ends {
            assert_eq!((end.progress.files, end.progress.failed), (0, 1), "{end:?}");
        }
    }
}
