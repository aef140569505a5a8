//! The allotter's script in Redis, and the code that it follows.

use std::collections::BTreeMap;

use fanfare_domain::{
    Timestamp,
    limits::{
        Allowed,
        allotments::{Allotter, Grant, Report, SHARE_LASTS},
    },
};
use fanfare_infra::{
    names::Names,
    redis::{Call, Redis, Script},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::harness::redis;

const SCRIPT: &str = include_str!("../../../../infra/src/redis/limits/allot.lua");
const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

async fn ask(redis: &Redis, script: &Script, key: &str, node: &str, report: &Report, now: Timestamp) -> Grant {
    let call = Call::on(key)
        .arg(node)
        .number(report.allowed.per_s.into())
        .number(report.allowed.burst.into())
        .number(report.demand_milli)
        .number(report.taken)
        .number(report.uncharged)
        .arg(report.level_milli.to_string())
        .number(SHARE_LASTS.as_millis() as u64)
        .number(now.0);
    let answer = redis.script(script, call).await.unwrap();
    let (share_milli, level_milli, nodes) = ::redis::from_redis_value(answer).unwrap();
    Grant { share_milli, level_milli, nodes }
}

/// A plan, small or large, with which a sequence begins or goes on.
fn plan(random: &mut StdRng) -> Allowed {
    let per_s = [1, 7, 1_000, 1_000_000, u32::MAX][random.random_range(0..5)];
    Allowed { per_s, burst: per_s.max(1_000) }
}

#[tokio::test]
async fn the_script_computes_what_the_code_computes() {
    let server = redis::server().await;
    let (redis, script) = (Redis::connect(&server.url(), Names::default()).unwrap(), Script::new(SCRIPT));
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut twin, mut taken) = (Allotter::default(), BTreeMap::<_, u64>::new());
        let (mut allowed, mut now) = (plan(&mut random), Timestamp(1_700_000_000_000));
        for step in 0..60 {
            now = now.after(std::time::Duration::from_millis(random.random_range(0..[50, 400, 5_000][step % 3])));
            if random.random_range(0..30) == 0 {
                allowed = plan(&mut random);
            }
            let node = NODES[random.random_range(0..NODES.len())];
            let count = random.random_range(0..=u64::from(allowed.burst));
            let taken = taken.entry(node).or_default();
            *taken += count;
            let report = Report {
                allowed,
                demand_milli: random.random_range(0..=u64::from(allowed.per_s) * 3_000),
                taken: *taken,
                uncharged: count,
                level_milli: random.random_range(-1_000..=i64::from(allowed.burst) * 1_000),
            };
            let expected = twin.report(node, &report, now);
            let found = ask(&redis, &script, &format!("seed:{seed}"), node, &report, now).await;
            assert_eq!(found, expected, "seed {seed}, step {step}: {node} {report:?}");
        }
    }
}
