//! A backlog that the table cannot take at once: a site is provisioned, and its activations come
//! faster than the table writes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use crate::{
    aws::FakeAws,
    owner::{Ingestion, OwnedEvent, deliver, environment},
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

const ENVIRONMENTS: usize = 4;
const EVENTS: usize = 400;
const BATCH: usize = 100;

/// How often a queue delivers a message, and after how long again.
const RECEIVES: u32 = 5;
const VISIBILITY: Duration = Duration::from_secs(240);

/// Delivers an environment's share in batches, and again what failed. Returns what is left, and the
/// time until the last success.
async fn drain(aws: &FakeAws, share: &[OwnedEvent]) -> (Vec<OwnedEvent>, Duration) {
    let (handler, started) = (environment(aws, aws.transport()), Instant::now());
    let (mut due, mut ended) = (share.to_vec(), Duration::ZERO);
    for receive in 0..RECEIVES {
        sleep_until(started + VISIBILITY * receive).await;
        let mut again = Vec::new();
        for batch in due.chunks(BATCH) {
            let now = NOW + TimeDelta::from_std(started.elapsed()).unwrap();
            let time = TimeDelta::seconds(30);
            let kept = deliver(&handler, Ingestion::Buffered, batch, now, time).await;
            again.extend(kept);
            ended = started.elapsed();
        }
        due = again;
        if due.is_empty() {
            break;
        }
    }
    (due, ended)
}

#[tokio::test(start_paused = true)]
async fn a_backlog_beyond_the_tables_capacity_misses_no_row() {
    for per_second in [500, 250] {
        let aws = FakeAws::in_memory();
        aws.limit_capacity(per_second);
        let event = |number| OwnedEvent::of_kind(2, number);
        let events: Vec<_> = (0..EVENTS).map(event).collect();
        let shares = events.chunks(EVENTS / ENVIRONMENTS);
        let drained = join_all(shares.map(|share| drain(&aws, share))).await;
        let left: usize = drained.iter().map(|(left, _)| left.len()).sum();
        let longest = drained.iter().map(|(_, time)| *time).max().unwrap();
        let went_out = events.iter().filter(|event| event.happened(&aws) > 0);
        let missing = went_out.filter(|event| !event.is_stored(&aws)).count();
        println!(
            "{EVENTS} activations, {per_second} write units a second: {missing} rows missing, \
             {left} with their owner, drained after {longest:?}"
        );
        assert_eq!((missing, left), (0, 0), "{per_second} a second");
        assert_eq!(aws.published().len(), EVENTS, "each once");
    }
}
