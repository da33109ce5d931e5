//! Behaviour of one link: edges by hand, laws by random shapes and offers.

use proptest::prelude::*;
use xfer_netem::{Burst, Chance, DropReason, Link, Shape, Verdict, flip_bit};

const GBIT: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn at(verdict: Verdict) -> Option<u64> {
    verdict.deliveries().next().map(|delivery| delivery.at_ns)
}

#[test]
fn the_default_passes_at_once() {
    let mut link = Link::new(Shape::default(), 0);
    for now in [0, 7, 7, u64::MAX / 2] {
        assert_eq!(at(link.offer(now, 1500)), Some(now));
    }
    assert_eq!((link.stats().passed, link.stats().dropped()), (4, 0));
}

#[test]
fn the_rate_spaces_packets() {
    let shape = Shape { rate_bps: Some(GBIT), overhead_bytes: 24, delay_ns: 25 * MS, ..Shape::default() };
    let mut link = Link::new(shape, 0);
    // (1226 + 24) bytes are 10 us at 1 Gbit/s.
    assert_eq!(at(link.offer(0, 1226)), Some(25 * MS + 10_000));
    assert_eq!(at(link.offer(0, 1226)), Some(25 * MS + 20_000));
    assert_eq!(at(link.offer(20_000, 1226)), Some(25 * MS + 30_000), "idle again at the very instant");
    assert_eq!(at(link.offer(50_000, 1226)), Some(25 * MS + 60_000));
}

#[test]
fn fractions_of_nanoseconds_are_not_lost() {
    let mut link = Link::new(Shape { rate_bps: Some(3 * GBIT), ..Shape::default() }, 0);
    let last = (0..3000).filter_map(|_| at(link.offer(0, 100))).last();
    assert_eq!(last, Some(800_000), "3000 x 100 bytes at 3 Gbit/s");
}

#[test]
fn the_queue_takes_what_fits_to_the_byte() {
    let shape = Shape { rate_bps: Some(GBIT), queue_bytes: Some(3000), ..Shape::default() };
    let mut link = Link::new(shape, 0);
    assert_eq!(at(link.offer(0, 1000)), Some(8_000));
    assert_eq!(at(link.offer(0, 1999)), Some(23_992));
    assert_eq!(link.backlog_bytes(0), 2999);
    assert_eq!(link.offer(0, 2), Verdict::Drop(DropReason::Queue));
    assert_eq!(at(link.offer(0, 1)), Some(24_000));
    assert_eq!(link.offer(0, 1), Verdict::Drop(DropReason::Queue));
    assert_eq!(at(link.offer(8, 1)), Some(24_008), "one byte has left after 8 ns");
}

#[test]
fn an_idle_wire_takes_one_packet_of_any_size() {
    let shape = Shape { rate_bps: Some(GBIT), queue_bytes: Some(0), ..Shape::default() };
    let mut link = Link::new(shape, 0);
    assert!(at(link.offer(0, 9000)).is_some());
    assert_eq!(link.offer(71_999, 1), Verdict::Drop(DropReason::Queue));
    assert!(at(link.offer(72_000, 1)).is_some());
}

#[test]
fn mtu_is_the_last_size_that_passes() {
    let mut link = Link::new(Shape { mtu: Some(1400), ..Shape::default() }, 0);
    assert!(at(link.offer(0, 1399)).is_some() && at(link.offer(0, 1400)).is_some());
    assert_eq!(link.offer(0, 1401), Verdict::Drop(DropReason::Mtu));
}

#[test]
fn a_black_hole_swallows_until_it_is_mended() {
    let mut link = Link::new(Shape { blackhole: true, ..Shape::default() }, 0);
    assert_eq!(link.offer(0, 1), Verdict::Drop(DropReason::Blackhole));
    link.set_shape(5, Shape::default());
    assert_eq!(at(link.offer(5, 1)), Some(5));
    assert_eq!(link.stats().dropped_blackhole, 1);
}

#[test]
fn loss_meets_its_fraction_and_other_faults_do_not_move_it() {
    let lost = |shape: Shape| -> Vec<bool> {
        let mut link = Link::new(shape, 42);
        (0..50_000).map(|i| link.offer(i, 1000) == Verdict::Drop(DropReason::Random)).collect()
    };
    let plain = Shape { loss: Chance::ppm(10_000), ..Shape::default() };
    let busy = Shape { duplicate: Chance::ppm(500_000), corrupt: Chance::ppm(500_000), ..plain };
    let pattern = lost(plain);
    let count = pattern.iter().filter(|lost| **lost).count();
    assert!((400..600).contains(&count), "{count}");
    assert_eq!(pattern, lost(busy));
}

#[test]
fn bursts_are_as_long_as_they_should_be() {
    let burst = Burst { enter: Chance::ppm(1_000), leave: Chance::ppm(100_000), loss: Chance::ALWAYS };
    let mut link = Link::new(Shape { burst: Some(burst), ..Shape::default() }, 3);
    let lost: Vec<bool> = (0..1_000_000).map(|i| at(link.offer(i, 1)).is_none()).collect();
    let losses = lost.iter().filter(|lost| **lost).count();
    let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    assert!((900..1100).contains(&bursts), "{bursts}");
    assert!((9.0..11.0).contains(&(losses as f64 / bursts as f64)), "{losses} in {bursts}");
}

#[test]
fn held_back_packets_are_overtaken() {
    let shape = Shape { reorder: Chance::ALWAYS, reorder_ns: 5 * MS, ..Shape::default() };
    let mut link = Link::new(shape, 0);
    assert_eq!(at(link.offer(0, 1)), Some(5 * MS));
    link.set_shape(1, Shape::default());
    assert_eq!(at(link.offer(1, 1)), Some(1));
    assert_eq!(link.stats().reordered, 1);
}

#[test]
fn duplicates_come_twice_and_damage_is_per_copy() {
    let shape = Shape { duplicate: Chance::ALWAYS, corrupt: Chance::ppm(500_000), ..Shape::default() };
    let mut link = Link::new(shape, 0);
    let deliveries: Vec<_> = (0..1000).flat_map(|i| link.offer(i, 1).deliveries()).collect();
    assert_eq!(deliveries.len(), 2000);
    let pairs_that_differ =
        deliveries.chunks(2).filter(|pair| pair[0].corrupt.is_some() != pair[1].corrupt.is_some()).count();
    assert!((400..600).contains(&pairs_that_differ), "{pairs_that_differ}");
    let stats = link.stats();
    assert_eq!(stats.duplicated, 1000);
    assert_eq!(stats.corrupted, deliveries.iter().filter(|d| d.corrupt.is_some()).count() as u64);
}

#[test]
fn flip_bit_changes_one_bit_and_nothing_of_nothing() {
    flip_bit(&mut [], 12);
    for damage in [0, 7, 8, 15, 16, u64::MAX] {
        let mut packet = [0u8; 2];
        flip_bit(&mut packet, damage);
        assert_eq!(u16::from_le_bytes(packet).count_ones(), 1);
    }
    let mut last = [0u8; 2];
    flip_bit(&mut last, 15);
    assert_eq!(last, [0, 0x80]);
}

#[test]
fn a_cleared_queue_leaves_the_wire_idle() {
    let mut link = Link::new(Shape { rate_bps: Some(8_000), ..Shape::default() }, 0);
    link.offer(0, 1_000_000);
    link.clear_queue(5);
    assert_eq!(link.backlog_bytes(5), 0);
    assert_eq!(at(link.offer(5, 1)), Some(5 + MS));
}

fn chances() -> impl Strategy<Value = Chance> {
    prop_oneof![Just(Chance::NEVER), (0u32..300_000).prop_map(Chance::ppm)]
}

prop_compose! {
    fn shapes()(
        rate_bps in proptest::option::of(1_000_000u64..100 * GBIT),
        queue_bytes in proptest::option::of(0u64..1_000_000),
        delay_ns in 0..50 * MS, jitter_ns in 0..5 * MS, overhead_bytes in 0u32..40,
        loss in chances(), reorder in chances(), duplicate in chances(), corrupt in chances(),
        burst in proptest::option::of((chances(), chances(), chances())),
        mtu in proptest::option::of(1000u32..9000),
    ) -> Shape {
        Shape {
            rate_bps, queue_bytes, mark_bytes: None,
            delay_ns, jitter_ns, overhead_bytes, loss, reorder,
            reorder_ns: MS, duplicate, corrupt, mtu, blackhole: false,
            burst: burst.map(|(enter, leave, loss)| Burst { enter, leave, loss }),
        }
    }
}

fn offers() -> impl Strategy<Value = Vec<(u64, u32)>> {
    proptest::collection::vec((0u64..100_000, 1u32..10_000), 1..200).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .map(|(step, len)| {
                now += step;
                (now, len)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn one_seed_one_result(shape in shapes(), offers in offers(), seed: u64) {
        let (mut a, mut b) = (Link::new(shape, seed), Link::new(shape, seed));
        for (now, len) in offers {
            prop_assert_eq!(a.offer(now, len), b.offer(now, len));
        }
        prop_assert_eq!(a.stats(), b.stats());
    }

    #[test]
    fn every_packet_is_accounted_for(shape in shapes(), offers in offers(), seed: u64) {
        let mut link = Link::new(shape, seed);
        let mut arrivals = 0;
        for (now, len) in &offers {
            for delivery in link.offer(*now, *len).deliveries() {
                arrivals += 1;
                prop_assert!(delivery.at_ns >= now + shape.delay_ns.saturating_sub(shape.jitter_ns));
            }
        }
        let stats = link.stats();
        prop_assert_eq!(stats.offered, offers.len() as u64);
        prop_assert_eq!(stats.passed + stats.dropped(), stats.offered);
        prop_assert_eq!(stats.passed + stats.duplicated, arrivals);
    }

    #[test]
    fn order_holds_without_reorder(shape in shapes(), offers in offers(), seed: u64) {
        let mut link = Link::new(Shape { reorder: Chance::NEVER, ..shape }, seed);
        let arrivals: Vec<u64> =
            offers.iter().flat_map(|(now, len)| link.offer(*now, *len).deliveries()).map(|d| d.at_ns).collect();
        prop_assert!(arrivals.is_sorted(), "{:?}", arrivals);
    }

    #[test]
    fn the_rate_and_the_queue_are_never_exceeded(shape in shapes(), offers in offers(), seed: u64) {
        let rate_bps = 1_000_000_000;
        let shape = Shape {
            rate_bps: Some(rate_bps), jitter_ns: 0, loss: Chance::NEVER, burst: None,
            reorder: Chance::NEVER, ..shape
        };
        let mut link = Link::new(shape, seed);
        let mut previous: Option<u64> = None;
        for (now, len) in offers {
            if let Some(at_ns) = at(link.offer(now, len)) {
                let cost_ns = u64::from(len + shape.overhead_bytes) * 8;
                prop_assert!(at_ns >= now + cost_ns + shape.delay_ns);
                prop_assert!(previous.is_none_or(|earlier| at_ns >= earlier + cost_ns));
                previous = Some(at_ns);
            }
            // An idle wire takes one packet of any size; these offers have at most 9,999 bytes and 39 of overhead.
            prop_assert!(link.backlog_bytes(now) <= shape.queue_bytes.unwrap_or(u64::MAX).max(10_038));
        }
    }
}

#[test]
fn packets_that_meet_a_queue_are_marked() {
    let shape = Shape { rate_bps: Some(GBIT), mark_bytes: Some(2_000), ..Shape::default() };
    let mut link = Link::new(shape, 0);
    let marks: Vec<bool> = (0..4)
        .flat_map(|_| link.offer(0, 1_000).deliveries().map(|d| d.marked).collect::<Vec<_>>())
        .collect();
    assert_eq!(marks, [false, false, false, true], "0, 1000, 2000 and 3000 bytes wait");
    assert_eq!(link.stats().marked, 1);
}
