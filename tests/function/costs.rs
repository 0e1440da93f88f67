//! What an event costs: calls, units of the table and dollars a million, by kind and batch size.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    aws::{FakeAws, Operation},
    owner::{Ingestion, OwnedEvent, deliver, environment},
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// List prices in us-east-1, in dollars a million: a write unit and a read unit of a table on
/// demand, a call of `PutMetricData`, a message to SNS.
const WRITE_UNIT: f64 = 0.625;
const READ_UNIT: f64 = 0.125;
const METRIC_CALL: f64 = 10.0;
const MESSAGE: f64 = 0.5;

/// What a batch costs.
#[derive(Debug)]
struct BatchCost {
    calls: usize,
    table_calls: usize,
    write_units: usize,
    read_units: usize,
    dollars: f64,
    table_dollars: f64,
}

async fn cost(kind: usize, events: usize) -> BatchCost {
    let aws = FakeAws::in_memory();
    let mut batch: Vec<_> = (0..events)
        .map(|number| OwnedEvent::of_kind(kind, number))
        .collect();
    // Ids as long as Amazon's.
    let long = format!("\"unit-{}", "x".repeat(100));
    for event in &mut batch {
        event.text = event.text.replace("\"unit-", &long);
    }
    let ingestion = if events == 1 {
        Ingestion::Direct
    } else {
        Ingestion::Buffered
    };
    let handler = environment(&aws, aws.transport());
    let kept = deliver(&handler, ingestion, &batch, NOW, TimeDelta::seconds(30)).await;
    assert!(kept.is_empty());
    let (write_units, read_units) = aws.table_units();
    let metric_calls = aws.attempts(Operation::PutMetricData);
    let sns_calls = aws.attempts(Operation::Publish) + aws.attempts(Operation::PublishBatch);
    let messages = aws.published().len();
    let price = |count: usize, dollars: f64| {
        f64::from(u32::try_from(count).unwrap()) * dollars
            / f64::from(u32::try_from(events).unwrap())
    };
    let table_dollars = price(write_units, WRITE_UNIT) + price(read_units, READ_UNIT);
    BatchCost {
        calls: aws.count(),
        table_calls: aws.count() - metric_calls - sns_calls,
        write_units,
        read_units,
        table_dollars,
        dollars: table_dollars + price(metric_calls, METRIC_CALL) + price(messages, MESSAGE),
    }
}

/// The numbers of events in an invocation.
const BATCHES: [usize; 4] = [1, 10, 100, 1000];

/// What each kind of event costs, in the order of [`OwnedEvent::of_kind`].
const EXPECTED: [ExpectedCost; 5] = [
    ExpectedCost {
        name: "skill failure",
        calls: [2, 2, 8, 80],
        write_units: 2,
        read_units: 0,
    },
    ExpectedCost {
        name: "automation failure",
        calls: [4, 4, 13, 130],
        write_units: 3,
        read_units: 1,
    },
    ExpectedCost {
        name: "activation",
        calls: [3, 3, 12, 120],
        write_units: 3,
        read_units: 0,
    },
    ExpectedCost {
        name: "quarantined",
        calls: [2, 2, 8, 80],
        write_units: 2,
        read_units: 0,
    },
    ExpectedCost {
        name: "automation success",
        calls: [4, 4, 13, 130],
        write_units: 3,
        read_units: 1,
    },
];

/// Calls of the table for each batch, and its units for each event.
struct ExpectedCost {
    name: &'static str,
    calls: [usize; 4],
    write_units: usize,
    read_units: usize,
}

#[tokio::test(start_paused = true)]
async fn an_event_costs_what_the_document_says() {
    for (kind, expected) in EXPECTED.iter().enumerate() {
        for (events, calls) in BATCHES.into_iter().zip(expected.calls) {
            let (cost, name) = (cost(kind, events).await, expected.name);
            println!(
                "{name:<20} {events:>5}: {:>5} calls ({:>5} of the table), {:>5} write units, \
                 {:>5} read units, table ${:.2}, in all ${:.2} a million events",
                cost.calls,
                cost.table_calls,
                cost.write_units,
                cost.read_units,
                cost.table_dollars,
                cost.dollars
            );
            assert_eq!(cost.table_calls, calls, "{events} times {name}");
            assert_eq!(cost.write_units, events * expected.write_units, "{name}");
            assert_eq!(cost.read_units, events * expected.read_units, "{name}");
        }
    }
}
