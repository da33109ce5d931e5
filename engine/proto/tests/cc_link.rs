//! scratch
#[path = "cc_link/link.rs"]
mod link;
use link::*;
use std::time::Duration;
use xfer_proto::cc::Algorithm;
fn wire(loss: u64, rtt: u64) -> Wire {
    let seed = std::env::var("CC_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    Wire { bits_per_second: 1_000_000_000, rtt: Duration::from_millis(rtt), queue_percent: 100, loss_ppm: loss, poll_late: Duration::ZERO, seed }
}
fn s(ms: u64) -> Duration { Duration::from_millis(ms) }
fn plan(a: Algorithm, ms: u64) -> FlowPlan { FlowPlan { algorithm: a, start: s(ms) } }
#[test]
fn steady() {
    for (loss, rtt) in [(0, 50), (1000, 50), (10_000, 50), (20_000, 50), (10_000, 200)] {
        let mut l = Link::new(wire(loss, rtt), &[plan(Algorithm::Bbr, 0)]);
        l.run(s(20_000));
        let eight: Vec<_> = (5..=10).map(|i| format!("{:.0}", l.goodput(0, s(i*rtt), s((i+1)*rtt)))).collect();
        println!("loss {loss} rtt {rtt}: 5-10 s {:.2} 5-20 s {:.2} lost {:.2} startup {eight:?} 90% at {:.2}", l.goodput(0, s(5000), s(10_000)), l.goodput(0, s(5000), s(20_000)), l.lost(0), (0..4000).find(|&m| l.goodput(0, s(m), s(m+10)) >= 90.0).unwrap_or(0) as f64 / rtt as f64);
    }
}
#[test]
fn fair() {
    use Algorithm::*;
    for (a, b, d) in [(Bbr, Cubic, 0), (Bbr, Cubic, 2000), (Cubic, Bbr, 2000), (Bbr, Bbr, 0), (Bbr, Bbr, 2000), (Ledbat, Cubic, 0), (Cubic, Ledbat, 2000), (Cubic, Cubic, 2000)] {
        let mut l = Link::new(wire(0, 50), &[plan(a, 0), plan(b, d)]);
        l.run(s(60_000));
        let w: Vec<_> = [(2, 10), (10, 20), (20, 30), (30, 60)].iter().map(|&(f, u)| { let (x, y) = (l.goodput(0, s(f*1000), s(u*1000)), l.goodput(1, s(f*1000), s(u*1000))); format!("{:.0}+{:.0}", x, y) }).collect();
        println!("{a:?} {b:?} +{d}: {w:?} lost {:.2} {:.2}", l.lost(0), l.lost(1));
    }
}
#[test]
fn alone() {
    for a in [Algorithm::Cubic, Algorithm::Ledbat, Algorithm::Fixed { bytes_per_second: 120_000_000 }] {
        let mut l = Link::new(wire(0, 50), &[plan(a, 0)]);
        l.run(s(20_000));
        println!("{a:?} alone {:.1} {:.1}", l.goodput(0, s(1000), s(5_000)), l.goodput(0, s(5000), s(20_000)));
    }
}
#[test]
fn one() {
    let loss = std::env::var("L").unwrap().parse().unwrap();
    let mut l = Link::new(wire(loss, 50), &[plan(Algorithm::Bbr, 0)]);
    l.run(s(8_000));
}
#[test]
fn two() {
    let mut l = Link::new(wire(0, 50), &[plan(Algorithm::Bbr, 0), plan(Algorithm::Bbr, 2000)]);
    l.run(s(30_000));
}
