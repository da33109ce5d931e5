//! Time of every case, by criterion: `cargo xtask bench micro [FILTER]`.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use xfer_benches::{CASES, Work};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    for case in CASES {
        let (group, name) = case.name.split_once('/').expect("a case is named group/what");
        let mut group = criterion.benchmark_group(group);
        group.throughput(match case.work {
            Work::Bytes(bytes) => Throughput::Bytes(bytes),
            Work::Items(items) => Throughput::Elements(items),
        });
        group.bench_function(name, |bencher| {
            let mut run = (case.make)();
            bencher.iter(&mut run);
        });
        group.finish();
    }
    criterion.final_summary();
}
