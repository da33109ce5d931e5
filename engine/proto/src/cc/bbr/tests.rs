//! BBR's reactions one by one, driven by hand: one train and one ACK a round.

use super::*;

const MTU: u64 = 1000;
/// A path of 100 packets of 1000 bytes a round trip of 50 ms.
const BDP: u64 = 100 * MTU;

/// A controller and the time of its path.
struct Path {
    control: Bbr,
    now_ms: u64,
}

/// What a round trip brings beside the ACK.
#[derive(Clone, Copy, Default)]
struct News {
    queue_ms: u64,
    lost: u64,
    marked: bool,
}

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

impl Path {
    fn new() -> Self {
        let start = Start { window: 32 * MTU, max_datagram: MTU, rtt: Duration::from_millis(50) };
        Path { control: Bbr::new(start, 1), now_ms: 1_000 }
    }

    /// Sends what the window permits, at most what the path carries, and takes the ACK of it.
    fn round(&mut self, news: News) {
        let queued = BDP * news.queue_ms / 50;
        let bytes = self.control.window().min(BDP + queued).max(news.lost + MTU);
        let sent = at(self.now_ms);
        let snapshot = self.control.on_sent(sent, bytes, 1);
        self.now_ms += 50 + news.queue_ms;
        self.answer(sent, snapshot, bytes, news);
    }

    /// A round of two halves with an ACK each, which come together; each lost something.
    fn divided_round(&mut self, queues_ms: [u64; 2], lost: u64) {
        let halves = queues_ms.map(|queue_ms| {
            let sent = at(self.now_ms + queues_ms[0].max(queues_ms[1]) - queue_ms);
            (sent, self.control.on_sent(sent, BDP / 2, 1), queue_ms)
        });
        self.now_ms += 50 + queues_ms[0].max(queues_ms[1]);
        for (sent, snapshot, queue_ms) in halves {
            self.answer(sent, snapshot, BDP / 2, News { queue_ms, lost, marked: false });
        }
    }

    /// Takes the ACK of a train.
    fn answer(&mut self, sent: Time, snapshot: SendSnapshot, bytes: u64, news: News) {
        if news.lost > 0 {
            self.control.on_loss(at(self.now_ms), news.lost, 1, sent);
        }
        self.control.on_ack(&AckSample {
            now: at(self.now_ms),
            acked_bytes: bytes - news.lost,
            lost_bytes: news.lost,
            in_flight: 1,
            rtt: Some(Duration::from_millis(50 + news.queue_ms)),
            one_way_delay: None,
            ce_marked: news.marked,
            newest_sent_time: sent,
            snapshot,
            app_limited_now: false,
        });
    }

    /// A path whose capacity is known.
    fn cruising() -> Self {
        let mut path = Path::new();
        for _ in 0..100 {
            path.round(News::default());
            if path.control.phase == Phase::Cruise {
                return path;
            }
        }
        panic!("never cruised: {:?}", path.control);
    }
}

#[test]
fn startup_doubles_and_ends_on_a_plateau() {
    let mut path = Path::new();
    path.round(News::default());
    path.round(News::default());
    assert!(path.control.window() >= 2 * 32 * MTU);
    for _ in 0..6 {
        path.round(News::default());
    }
    assert!(!path.control.in_startup());
    assert_eq!(path.control.model.max_bw(), BDP * 20);
}

#[test]
fn startup_ends_on_loss_beside_a_queue_only() {
    let mut random = Path::new();
    let mut congested = Path::new();
    for _ in 0..3 {
        random.round(News { lost: 6 * MTU, ..Default::default() });
        congested.round(News { lost: 6 * MTU, queue_ms: 20, ..Default::default() });
    }
    assert!(random.control.in_startup());
    assert!(!random.control.full.reached);
    congested.round(News { lost: 6 * MTU, queue_ms: 45, ..Default::default() });
    assert!(congested.control.full.reached);
    assert!(congested.control.model.inflight_hi < u64::MAX);
}

#[test]
fn startup_ends_beside_a_queue_although_the_source_pauses() {
    for (queue_ms, ends) in [(30, true), (12, false)] {
        let mut path = Path::new();
        path.round(News::default());
        for _ in 0..8 {
            path.control.app_limited(u64::MAX / 2);
            path.round(News { queue_ms, ..Default::default() });
        }
        assert_eq!(path.control.full.reached, ends, "{queue_ms} ms");
    }
}

#[test]
fn what_startup_left_behind_is_no_congestion() {
    let mut path = Path::new();
    path.round(News::default());
    while path.control.phase != Phase::Cruise {
        path.round(News { queue_ms: 40, ..Default::default() });
    }
    path.round(News { lost: MTU, ..Default::default() });
    assert_eq!(path.control.model.bw_lo, u64::MAX);
    for _ in 0..2 {
        path.round(News { lost: MTU, queue_ms: 40, ..Default::default() });
    }
    assert!(path.control.model.bw_lo < u64::MAX);
}

#[test]
fn a_late_thread_makes_no_loss_count() {
    for (queues_ms, counts) in [([0, 40], false), ([12, 40], false), ([13, 40], true)] {
        let mut path = Path::cruising();
        for _ in 0..3 {
            path.divided_round(queues_ms, MTU);
        }
        assert_eq!(path.control.model.bw_lo < u64::MAX, counts, "{queues_ms:?}");
        assert_eq!(path.control.model.inflight_hi < u64::MAX, counts, "{queues_ms:?}");
    }
}

#[test]
fn an_outage_does_not_end_startup() {
    let mut path = Path::new();
    for _ in 0..4 {
        path.round(News { lost: 31 * MTU, queue_ms: 40, ..Default::default() });
    }
    assert!(path.control.in_startup());
    for _ in 0..8 {
        path.round(News::default());
    }
    assert_eq!(path.control.model.max_bw(), BDP * 20);
}

#[test]
fn loss_without_a_queue_changes_no_bound() {
    let mut path = Path::cruising();
    for _ in 0..5 {
        path.round(News { lost: 30 * MTU, queue_ms: 12, ..Default::default() });
    }
    assert_eq!((path.control.model.bw_lo, path.control.model.inflight_lo), (u64::MAX, u64::MAX));
    assert_eq!(path.control.model.inflight_hi, u64::MAX);
}

#[test]
fn loss_beside_a_queue_lowers_all_bounds() {
    let mut path = Path::cruising();
    for _ in 0..3 {
        path.round(News { lost: MTU, queue_ms: 13, ..Default::default() });
    }
    assert!(path.control.model.bw_lo < u64::MAX);
    assert!(path.control.model.inflight_lo < u64::MAX);
    assert!(path.control.model.inflight_hi <= 100 * MTU);
}

#[test]
fn a_mark_lowers_the_bounds_without_loss_and_without_a_queue() {
    let mut path = Path::cruising();
    for _ in 0..2 {
        path.round(News { marked: true, ..Default::default() });
    }
    assert!(path.control.model.bw_lo < u64::MAX);
    assert!(path.control.model.inflight_hi < u64::MAX);
}

#[test]
fn spurious_loss_restores_the_bounds() {
    let mut path = Path::cruising();
    path.round(News { lost: MTU, queue_ms: 20, ..Default::default() });
    path.control.on_spurious_loss(at(path.now_ms), MTU);
    assert_eq!((path.control.model.bw_lo, path.control.model.inflight_lo), (u64::MAX, u64::MAX));
    assert_eq!(path.control.model.inflight_hi, u64::MAX);
}

#[test]
fn probes_come_and_pass() {
    let mut path = Path::cruising();
    let mut seen = [false; 4];
    for _ in 0..80 {
        path.round(News::default());
        match path.control.phase {
            Phase::Refill => seen[0] = true,
            Phase::Up => seen[1] = true,
            Phase::Down => seen[2] = true,
            Phase::Cruise => seen[3] = true,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [true; 4]);
}

#[test]
fn a_standing_queue_leads_to_probe_rtt_and_back() {
    let mut path = Path::cruising();
    let mut low = u64::MAX;
    let mut probed = false;
    for _ in 0..200 {
        let queue_ms = if path.control.phase == Phase::ProbeRtt { 0 } else { 5 };
        path.round(News { queue_ms, ..Default::default() });
        if path.control.phase == Phase::ProbeRtt {
            probed = true;
            low = low.min(path.control.window());
        }
    }
    assert!(probed);
    assert!(low <= BDP / 2 + MTU, "{low}");
    assert!(path.control.window() > BDP);
    assert_eq!(path.control.model.min_rtt, Duration::from_millis(50));
}

#[test]
fn probe_rtt_is_as_long_as_the_path_and_never_long() {
    let mut path = Path::cruising();
    for (rtt_us, span_us) in
        [(75, 8_300), (2_000, 16_000), (47_999, 199_996), (48_000, 200_000), (100_000, 200_000)]
    {
        path.control.model.min_rtt = Duration::from_micros(rtt_us);
        assert_eq!(path.control.probe_rtt_span(), Duration::from_micros(span_us));
    }
}

#[test]
fn an_empty_queue_needs_no_probe_rtt() {
    let mut path = Path::cruising();
    for i in 0..400 {
        path.round(News { queue_ms: u64::from(i % 2 == 0), ..Default::default() });
        assert_ne!(path.control.phase, Phase::ProbeRtt);
    }
}

#[test]
fn persistent_congestion_leaves_the_minimum_and_recovers() {
    let mut path = Path::cruising();
    path.control.on_persistent_congestion(at(path.now_ms), BDP);
    assert_eq!(path.control.window(), 4 * MTU);
    for _ in 0..8 {
        path.round(News::default());
    }
    assert!(path.control.window() >= BDP);
}

#[test]
fn application_limits_do_not_lower_the_bandwidth() {
    let mut path = Path::cruising();
    for _ in 0..20 {
        path.control.app_limited(1);
        let sent = at(path.now_ms);
        let snapshot = path.control.on_sent(sent, MTU, 1);
        path.now_ms += 50;
        path.control.on_ack(&AckSample {
            now: at(path.now_ms),
            acked_bytes: MTU,
            lost_bytes: 0,
            in_flight: 1,
            rtt: Some(Duration::from_millis(50)),
            one_way_delay: None,
            ce_marked: false,
            newest_sent_time: sent,
            snapshot,
            app_limited_now: true,
        });
    }
    assert_eq!(path.control.model.max_bw(), BDP * 20);
}
