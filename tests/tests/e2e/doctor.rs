//! `tributary doctor`: says what is wrong and what to change, and nothing where all is well.

use tributary_tests::deployment::Deployment;

const AS_MADE: [&str; 5] = ["doctor", "--replication", "1", "--partitions", "2"];

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_change() {
    let mut deployment = Deployment::prepare("doctor", "").await.unwrap();

    // Nothing runs yet, so nothing answers for the providers; the rest is well. `http` is said to be refused by most.
    let early = deployment.command(&AS_MADE).await.unwrap_err().to_string();
    assert!(early.contains("does not answer: is ingest running"), "{early}");
    let before = deployment.command(&[&AS_MADE[..], &["--before-start"]].concat()).await.unwrap();
    assert!(
        before.contains("ok     brokers") && before.contains("ok     transactions and clock"),
        "{before}"
    );
    assert!(before.contains("ok     database") && before.ends_with("all is well\n"), "{before}");

    deployment.run().await.unwrap();
    let running = deployment.command(&AS_MADE).await.unwrap_err().to_string();
    assert!(running.contains("is not https") && running.contains("1 to change"), "{running}");

    // Topics that are not as the file wants them.
    let other =
        deployment.command(&["doctor", "--before-start", "--partitions", "3"]).await.unwrap_err().to_string();
    assert!(other.contains("refused, its partition count can't be changed"), "{other}");
    deployment.stop().await.unwrap();
}
