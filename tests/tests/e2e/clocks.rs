//! A process whose clock is wrong says so.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tributary_tests::{PATIENCE, clock::Clock, deployment::Deployment};

use crate::native::{application, signed};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_half_a_minute_off_the_brokers_clock_is_not_ready_until_it_is_put_right() {
    let mut deployment = Deployment::start("clocks").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let account = Some(json!({"provider": "greenhouse"}));
    let account = project.done(Method::POST, "/accounts", account).await.unwrap();
    let path = format!("/accounts/{}/native-webhook", account["id"].as_str().unwrap());
    let native = project.done(Method::GET, &path, None).await.unwrap();
    let (url, secret) = (native["url"].as_str().unwrap(), native["secret"].as_str().unwrap());
    deployment.kill().await.unwrap();
    deployment.go_by(Clock::new().await.unwrap());
    deployment.run().await.unwrap();

    // What it writes shows it: an answer is awaited, then the next request is sent.
    for (ahead, ready) in [(0, true), (40, false), (-40, false), (10, true)] {
        deployment.clock().unwrap().set(ahead).unwrap();
        let said = async {
            for delivery in 0.. {
                let body = application(delivery, 0);
                let (delivery, signature) = (delivery.to_string(), signed(secret, &body));
                let headers = [("signature", signature.as_str()), ("greenhouse-event-id", delivery.as_str())];
                // It goes on taking requests, whatever its clock shows; only at its start it may not listen yet.
                if deployment.post(url, &headers, body).await.ok() != Some(StatusCode::OK) {
                    continue;
                }
                let (status, text) = deployment.readiness().await.unwrap();
                if (status == StatusCode::OK) == ready {
                    return text;
                }
            }
            unreachable!("there is always another request")
        };
        let said = tokio::time::timeout(PATIENCE, said).await.expect("it notices");
        assert_eq!(said, if ready { "ready\n" } else { "not ready: clock\n" }, "{ahead} s ahead");
    }
    deployment.stop().await.unwrap();
}
