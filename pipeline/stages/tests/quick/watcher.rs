//! A subscriber that sees what it is asked at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State};
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

/// One request that a subscriber got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) record: String,
    pub(crate) sequence: i64,
    pub(crate) attempt: u32,
    /// Requests that were under way when it came: of its record, and of all.
    pub(crate) beside: (usize, usize),
}

impl Asked {
    pub(crate) fn name(&self) -> String {
        format!("{}{}/{}", self.record, self.sequence, self.attempt)
    }
}

/// A subscriber's answer to a request, and how long it takes.
pub(crate) type Answer = fn(&Asked) -> (u16, Duration);

/// A subscriber that sees what it is asked at the same time.
#[derive(Clone)]
struct Watcher {
    answer: Answer,
    under_way: Arc<Mutex<HashMap<String, usize>>>,
    asked: mpsc::UnboundedSender<Asked>,
}

/// A request of a record, until it is dropped.
struct UnderWay(Watcher, String);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.under_way.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

pub(crate) async fn watch(answer: Answer) -> (String, mpsc::UnboundedReceiver<Asked>) {
    async fn take(
        State(watcher): State<Watcher>,
        headers: HeaderMap,
        Json(body): Json<serde_json::Value>,
    ) -> StatusCode {
        let number = |name: &str| headers[name].to_str().unwrap().parse::<i64>().unwrap();
        let record = body["record_remote_id"].as_str().unwrap().to_owned();
        let beside = {
            let mut under_way = watcher.under_way.lock().unwrap();
            let all = under_way.values().sum();
            let ours = under_way.entry(record.clone()).or_default();
            *ours += 1;
            (*ours - 1, all)
        };
        let _under_way = UnderWay(watcher.clone(), record.clone());
        let (sequence, attempt) = (number("x-tributary-sequence"), number("x-tributary-attempt") as u32);
        let asked = Asked { record, sequence, attempt, beside };
        let (status, takes) = (watcher.answer)(&asked);
        let _ = watcher.asked.send(asked);
        tokio::time::sleep(takes).await;
        StatusCode::from_u16(status).unwrap()
    }
    let (asked, receiver) = mpsc::unbounded_channel();
    let watcher = Watcher { answer, under_way: Arc::default(), asked };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(take).with_state(watcher);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receiver)
}

pub(crate) async fn next(inbox: &mut mpsc::UnboundedReceiver<Asked>) -> Asked {
    tokio::time::timeout(Duration::from_secs(30), inbox.recv()).await.expect("a request in time").unwrap()
}

pub(crate) async fn take(inbox: &mut mpsc::UnboundedReceiver<Asked>, count: usize) -> Vec<Asked> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(next(inbox).await);
    }
    all
}

pub(crate) fn names(asked: &[Asked]) -> Vec<String> {
    asked.iter().map(Asked::name).collect()
}

pub(crate) fn place(asked: &[Asked], name: &str) -> usize {
    names(asked).iter().position(|it| it == name).unwrap_or_else(|| panic!("{name} in {:?}", names(asked)))
}
