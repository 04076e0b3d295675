//! The API as its document says: Schemathesis calls every route with what the document allows, and with what it does not.

use tokio::process::Command;
use tributary_tests::{
    PATIENCE,
    deployment::{Deployment, OPERATOR_KEY},
    env,
};

/// What Schemathesis is asked: all phases that need no links, for less than a minute, the same every time.
const ASKED: &[&str] = &[
    "--phases=examples,coverage,fuzzing",
    "--max-examples=8",
    "--seed=1",
    "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    "--generation-database=none",
    "--warnings=off",
    "--workers=2",
    "--no-color",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_in_the_document_and_none_is_a_fault_of_ours() {
    let deployment = Deployment::start("openapi").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let mut command = Command::new(env("TRIBUTARY_TEST_PYTHON"));
    command
        .args(["-m", "schemathesis.cli", "run", &format!("{}/openapi.json", deployment.control())])
        .args(ASKED)
        .env("SCHEMATHESIS_HOOKS", "every_route")
        .env("PYTHONPATH", env("TRIBUTARY_TEST_CLIENTS"))
        .env("TRIBUTARY_TEST_API", deployment.control())
        .env("TRIBUTARY_TEST_KEY", &project.api_key)
        .env("TRIBUTARY_OPERATOR_KEY", OPERATOR_KEY)
        .current_dir(deployment.folder())
        .kill_on_drop(true);
    let output =
        tokio::time::timeout(2 * PATIENCE, command.output()).await.expect("it ends by itself").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // It really called: hundreds of cases, of which many were of something that there is.
    let metrics = deployment.metrics().await.unwrap();
    let called = |of: &str| {
        metrics
            .lines()
            .filter(|line| line.starts_with("tributary_control_requests_total") && line.contains(of))
            .count()
    };
    for route in ["/accounts/{id}", "/webhooks/{id}", "/keys/{id}", "/projects/{id}/suspend"] {
        assert!(called(&format!("route=\"{route}\",method=\"")) > 0, "{route} was not called");
    }
    assert!(called("status=\"20") > 30, "most routes have succeeded:\n{metrics}");
    deployment.stop().await.unwrap();
}
