//! Medians of interleaved runs: the machine's noise hits all candidates of a comparison alike.

use std::time::{Duration, Instant};

/// One thing to measure.
pub struct Candidate<'a> {
    pub name: &'a str,
    run: Box<dyn FnMut() + 'a>,
    times: Vec<Duration>,
}

impl<'a> Candidate<'a> {
    pub fn new(name: &'a str, run: impl FnMut() + 'a) -> Self {
        Self { name, run: Box::new(run), times: Vec::new() }
    }

    pub fn median(&self) -> Duration {
        median(&self.times)
    }
}

/// Runs every candidate once per round, in turn, after `warm` rounds that do not count.
pub fn interleave(candidates: &mut [Candidate<'_>], warm: usize, rounds: usize) {
    for round in 0..warm + rounds {
        for candidate in &mut *candidates {
            let started = Instant::now();
            (candidate.run)();
            let took = started.elapsed();
            if round >= warm {
                candidate.times.push(took);
            }
        }
    }
}

/// The middle of some spans; zero of none.
pub fn median(spans: &[Duration]) -> Duration {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// A line per candidate, with its ratio to the last one, which is the native or peer figure.
pub fn report(title: &str, candidates: &[Candidate<'_>]) {
    println!("{title}");
    let base = candidates.last().map_or(Duration::ZERO, Candidate::median);
    for candidate in candidates {
        let median = candidate.median();
        println!("  {:<44} {:>12}   {:.2} ×", candidate.name, shown(median), ratio(median, base));
    }
}

pub fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(f64::EPSILON)
}

pub fn shown(span: Duration) -> String {
    match span.as_nanos() {
        ns @ 0..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        ns => format!("{:.2} ms", ns as f64 / 1e6),
    }
}
