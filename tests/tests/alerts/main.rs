//! The alert rules on a running system, judged by a real Prometheus: a fault is made, the right alert fires and nothing
//! else does, and it clears. Every dashboard's query is asked there too. By itself (`tests/run alerts`), as rules on a clock
//! that is 150 times faster take a machine that is busy for one that is sick.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::json;
use tributary_tests::{
    client::{self, Client},
    clock::Clock,
    deployment::Deployment,
    greenhouse::{SECRET, application, signed},
    http, operations,
    prometheus::Prometheus,
};

/// Sends a provider's webhooks all the time, until dropped.
struct Provider {
    signs: Arc<AtomicBool>,
    speaks: Arc<AtomicBool>,
    under_way: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Provider {
    fn start(url: String, secret: String) -> Self {
        let (signs, speaks) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let (sent, under_way) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let this = Self {
            signs: signs.clone(),
            speaks: speaks.clone(),
            under_way: under_way.clone(),
            sent: sent.clone(),
        };
        tokio::spawn(async move {
            let http = http().unwrap();
            for number in 1_u64.. {
                tokio::time::sleep(Duration::from_millis(25)).await;
                under_way.store(true, Ordering::SeqCst);
                if !speaks.load(Ordering::SeqCst) {
                    under_way.store(false, Ordering::SeqCst);
                    continue;
                }
                let body = application(number, 0);
                let key = if signs.load(Ordering::SeqCst) { secret.as_str() } else { "wrong" };
                let request = http
                    .post(&url)
                    .header("content-type", "application/json")
                    .header("signature", signed(key, &body))
                    .header("greenhouse-event-id", number.to_string());
                if request.body(body).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                under_way.store(false, Ordering::SeqCst);
            }
        });
        this
    }

    /// Says nothing any more, and waits until all of it has been delivered.
    async fn pause(&self, prometheus: &Prometheus) {
        self.speaks.store(false, Ordering::SeqCst);
        let delivered = async || {
            let told = prometheus
                .query("sum(tributary_deliver_attempts_total{outcome=\"delivered\"})")
                .await
                .unwrap();
            told.first().and_then(|it| it["value"][1].as_str()?.parse::<f64>().ok()).unwrap_or(0.0)
        };
        while self.under_way.load(Ordering::SeqCst)
            || delivered().await < self.sent.load(Ordering::SeqCst) as f64
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn go_on(&self) {
        self.speaks.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_fires_its_alert_and_no_other_and_the_alert_clears() {
    let mut deployment = Deployment::start("alerts").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let (mut receiver, port) = Client::receiver("standardwebhooks_receiver.mjs", SECRET).await.unwrap();
    let webhook = json!({"url": format!("http://127.0.0.1:{port}/"), "events": ["ats_applications.*"], "secret": SECRET});
    project.done(Method::POST, "/webhooks", Some(webhook)).await.unwrap();
    let account = Some(json!({"provider": "greenhouse"}));
    let account = project.done(Method::POST, "/accounts", account).await.unwrap();
    let path = format!("/accounts/{}/native-webhook", account["id"].as_str().unwrap());
    let native = project.done(Method::GET, &path, None).await.unwrap();
    let text = |key: &str| native[key].as_str().unwrap().to_owned();
    deployment.go_by(Clock::new().await.unwrap());
    deployment.part().await.unwrap();

    let provider = Provider::start(text("url"), text("secret"));
    receiver.verified().await.unwrap();
    tokio::spawn(async move { while receiver.line().await.is_ok() {} });
    let prometheus = Prometheus::start(deployment.admins()).await.unwrap();

    // All is well, and every panel can be asked for.
    let told = "sum(tributary_deliver_attempts_total{outcome=\"delivered\"}) > 100";
    while prometheus.query(told).await.unwrap().is_empty() {
        prometheus.until(&[], &[]).await.unwrap();
    }
    assert_eq!(prometheus.sick_rules().await.unwrap(), Vec::<String>::new());
    for (dashboard, expr) in operations::queries().unwrap() {
        let shown = prometheus.query(&expr.replace("$__rate_interval", "5s")).await.unwrap();
        let flows = dashboard == "overview.json" && expr.contains("latency_seconds");
        assert!(!shown.is_empty() || !flows, "{dashboard} shows nothing for {expr}");
    }

    // A clock runs ahead, and is put right. What is on its way at that moment would look late, or early.
    let clock = deployment.clock().unwrap();
    provider.pause(&prometheus).await;
    clock.set(15).unwrap();
    provider.go_on();
    prometheus.until(&["ClockSkewed"], &[]).await.unwrap();
    provider.pause(&prometheus).await;
    clock.set(0).unwrap();
    provider.go_on();
    prometheus.until(&[], &["ClockSkewed"]).await.unwrap();

    // Somebody signs with another secret.
    provider.signs.store(false, Ordering::SeqCst);
    prometheus.until(&["IngestForged"], &[]).await.unwrap();
    provider.signs.store(true, Ordering::SeqCst);

    // A message that nobody can read.
    client::produce(&deployment.topic("ingest.native"), b"nonsense").await.unwrap();
    prometheus.until(&["UnifyDeadLetters"], &["IngestForged"]).await.unwrap();
    prometheus.until(&[], &["UnifyDeadLetters"]).await.unwrap();

    // unify dies. It comes back, and what waited for it is late.
    deployment.kill_stage("unify").await.unwrap();
    prometheus.until(&["ProcessDown", "StageGone"], &[]).await.unwrap();
    deployment.start_stage("unify").unwrap();
    prometheus.until(&["NativeEventsLate"], &["ProcessDown", "StageGone"]).await.unwrap();
    prometheus.until(&[], &["NativeEventsLate"]).await.unwrap();

    // Nothing comes any more.
    let enough = "sum(increase(tributary_ingest_requests_total{outcome=\"accepted\"}[10m])) > 1000";
    while prometheus.query(enough).await.unwrap().is_empty() {
        prometheus.until(&[], &[]).await.unwrap();
    }
    assert!(provider.sent.load(Ordering::SeqCst) > 500);
    provider.pause(&prometheus).await;
    prometheus.until(&["NothingArrives"], &[]).await.unwrap();
    provider.go_on();
    prometheus.until(&[], &["NothingArrives"]).await.unwrap();
    deployment.stop().await.unwrap();
}
