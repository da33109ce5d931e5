//! T8: one of two equal wires is cut in mid-transfer and restored.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xfer_lab::Cut;

use crate::flight::Flight;
use crate::meter::{Meter, Sample, spans};
use crate::stage::Stage;
use crate::{DATAGRAM, MB, ON_WIRE, at_least, at_most, wires};

/// So slow that the ends, the emulator and the meter fit on this machine's processors with room.
const WIRE_BPS: u64 = 400 * MB;
const BYTES: u64 = 700 * MB;
const CUT_AFTER: Duration = Duration::from_secs(3);
const DARK: Duration = Duration::from_secs(2);
const WATCHED_AFTER: Duration = Duration::from_millis(2_500);
const SAMPLED_EVERY: Duration = Duration::from_millis(1);
/// Bytes of a chunk.
const CHUNK: u64 = 1 << 20;
const SPAN: Duration = Duration::from_millis(100);
/// What the interfaces count may stand in the kernel's queue for a moment.
const OWN_RATE_SPAN: Duration = Duration::from_secs(1);

/// Where content lies until the copy is complete.
fn partial(flight: &Flight) -> PathBuf {
    let directory = flight.out().with_file_name(".xfer-partial");
    let parts = std::fs::read_dir(&directory).expect("content is on its way");
    let names = parts.map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "part")).expect("a part")
}

/// Whether chunk `index` is there: its last bytes are those of noise, not of a hole.
fn is_there(file: &File, index: u64) -> bool {
    let mut last = [0; 8];
    let read = file.read_at(&mut last, (index + 1) * CHUNK - 8).unwrap();
    read == last.len() && last != [0; 8]
}

/// Follows the copy until every chunk that was begun before the cut is complete; gives when.
fn completed(path: &Path, chunks: u64, at_cut: Instant) -> Instant {
    let file = File::open(path).unwrap();
    let last = (0..chunks).rev().find(|index| is_there(&file, *index)).expect("some chunk is there");
    // And the one after it, of which a part may have come.
    let begun = (last + 2).min(chunks);
    let mut missing: Vec<u64> = (0..begun).filter(|index| !is_there(&file, *index)).collect();
    loop {
        let now = Instant::now();
        missing.retain(|index| !is_there(&file, *index));
        if missing.is_empty() {
            return now;
        }
        assert!(now < at_cut + Duration::from_secs(5), "chunks {missing:?} from before the cut stay away");
        std::thread::sleep(SAMPLED_EVERY);
    }
}

/// The least rate over any span between two times, in percent of `own`.
fn least(samples: &[Sample], wire: usize, from: Instant, until: Instant, own: f64) -> f64 {
    let all = spans(samples, wire, SPAN);
    let within = all.iter().filter(|span| span.0 >= from && span.1 <= until).map(|span| span.2);
    within.fold(f64::MAX, f64::min) * 100.0 / own
}

fn cut_and_restored(rtt_ms: u64, cut: Cut) {
    let stage = Stage::up(wires(2, WIRE_BPS, rtt_ms, 0.0), BYTES);
    let meter = Meter::start(&stage.lab, 2, SAMPLED_EVERY);
    let mut flight = stage.copy(&[]);
    flight.until(flight.started + CUT_AFTER);
    let part = partial(&flight);
    let at_cut = Instant::now();
    stage.lab.cut(2, None, cut).unwrap();
    let complete = completed(&part, stage.size / CHUNK, at_cut) - at_cut;
    flight.until(at_cut + DARK);
    let restored = Instant::now();
    stage.lab.restore(2).unwrap();
    flight.until(restored + WATCHED_AFTER);
    assert!(flight.runs(), "the copy is long enough");
    let end = Instant::now();
    drop(flight);
    let samples = meter.stop();

    let full = WIRE_BPS as f64 / 8.0 * DATAGRAM / ON_WIRE;
    let before = spans(&samples, 1, OWN_RATE_SPAN);
    let own = before.iter().rfind(|span| span.1 <= at_cut).expect("a second before the cut").2;
    let survivor = least(&samples, 1, at_cut - SPAN, restored, own);
    let back = spans(&samples, 2, SPAN).into_iter().find(|span| span.0 >= restored && span.2 >= full * 0.9);
    let back = back.map_or(end, |span| span.1) - restored;
    let case = format!("T8: {rtt_ms} ms, {cut:?}");
    println!("{case}: survivor's own rate {:.0} Mbit/s", own * 8e-6);
    at_most(&format!("{case}: restored, ms until 90 %"), back.as_secs_f64() * 1e3, 1_000.0);
    let limit = if cut == Cut::Carrier { 10 + 2 * rtt_ms } else { (rtt_ms * 9 / 2).max(100) };
    at_most(
        &format!("{case}: ms until chunks of the dead path are complete"),
        complete.as_secs_f64() * 1e3,
        limit as f64,
    );
    at_least(&format!("{case}: survivor's least 100 ms, percent of its own rate"), survivor, 95.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t8_cut_in_the_middle_at_1_ms() {
    cut_and_restored(1, Cut::Blackhole);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t8_cut_in_the_middle_at_50_ms() {
    cut_and_restored(50, Cut::Blackhole);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t8_cut_by_carrier_at_1_ms() {
    cut_and_restored(1, Cut::Carrier);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t8_cut_by_carrier_at_50_ms() {
    cut_and_restored(50, Cut::Carrier);
}
