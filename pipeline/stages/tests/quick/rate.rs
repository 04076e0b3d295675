//! A webhook's `rate`.

use std::time::{Duration, Instant};

use crate::world::{World, config, next, says, subscriber};

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_spreads_a_webhook_s_requests_and_no_other_s() {
    let world = World::new().await;
    let (rated, mut slowly) = subscriber(|_| says(200)).await;
    let (other, mut quickly) = subscriber(|_| says(200)).await;
    world.webhook_with("rated", format!("http://127.0.0.1:{rated}/"), |it| it.rate = Some(10)).await;
    world.webhook("other", format!("http://127.0.0.1:{other}/")).await;
    let stage = world.start(config());
    world.announce(0).await;
    next(&mut slowly).await;
    next(&mut quickly).await;

    let begun = Instant::now();
    for number in 1..=20 {
        world.announce(number).await;
    }
    let (mut rated, mut other) = (begun, begun);
    for _ in 1..=20 {
        rated = next(&mut slowly).await.at.max(rated);
        other = next(&mut quickly).await.at.max(other);
    }
    // 20, of which one may be made at once, at 10 a second.
    assert!(rated - begun >= Duration::from_millis(1_900), "{:?}", rated - begun);
    assert!(other < rated, "another webhook does not wait");
    stage.abort();
}
