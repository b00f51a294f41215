//! SIGTERM while requests are in flight.

use testkit::{Person, TestApp};
use tokio::task::JoinSet;

const REQUESTS: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_taken_on_before_the_stop_is_answered() {
    let mut app = TestApp::start();
    let client = app.client();
    let photo = Person::Astronaut.photo();
    // One answer before: connections are open, so that all requests below are taken on at once.
    drop(client.detect(photo.clone()).await.ok());
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let (client, photo) = (client.clone(), photo.clone());
        requests.spawn(async move { client.embeddings(photo).await });
    }
    let first = requests.join_next().await.expect("requests").expect("an answer");
    drop(first.expect(200));
    app.terminate();
    let mut answered = 1;
    while let Some(answer) = requests.join_next().await {
        let answer = answer.expect("an answer, not a broken connection");
        // A request that arrives once the stop has begun may be sent elsewhere, but must be told so.
        assert!(matches!(answer.status, 200 | 503), "{} {}", answer.status, answer.text());
        answered += usize::from(answer.status == 200);
    }
    assert_eq!(answered, REQUESTS, "all were in flight when the stop began");
    assert_eq!(app.wait(), Some(0), "a drained service ends with success");
}

#[tokio::test]
async fn an_idle_service_stops_at_once_with_success() {
    let mut app = TestApp::start();
    app.terminate();
    assert_eq!(app.wait(), Some(0));
}
