//! The README's commands, as they stand there: from services to a first event of a provider that is not ours.

use std::process::Stdio;

use tokio::process::Command;
use tributary_tests::{PATIENCE, binary, env, operations};

/// The blocks of shell below a heading.
fn commands(readme: &str, heading: &str) -> Vec<String> {
    let section = readme.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_commands_lead_to_a_first_event() {
    let readme = operations::text("../README.md").unwrap();
    let blocks = commands(&readme, "From the sandbox to one's own system");
    let ten: Vec<&str> = blocks[0].lines().collect();
    assert!(ten.len() <= 10, "{ten:#?}");

    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(binary(), folder.path().join("tributary")).unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (control, ingest, admin, tryton) = (free(), free(), free(), free());
    // What tests/run has done already, and the ports of this machine: all else is as it stands.
    let preamble = format!(
        "set -euo pipefail; trap 'kill $(jobs -p)' EXIT\n\
         ops/local/up() {{ :; }}; cargo() {{ :; }}\n\
         ops/local/tryton() {{ \"$TRIBUTARY_TEST_TRYTON_LAUNCHER\" \"$@\" --name readme; }}\n\
         \"$TRIBUTARY_TEST_TRYTON_LAUNCHER\" up --name readme --port {tryton} --fresh >/dev/null\n"
    );
    let script: String = blocks.iter().map(|block| format!("{block}\n")).collect();
    let script = script
        .replace("ops/local/tryton up", "true")
        .replace("$PWD/target/release", &folder.path().display().to_string())
        .replace("127.0.0.1:18069", &format!("127.0.0.1:{tryton}"))
        .replace("127.0.0.1:8081", &format!("127.0.0.1:{control}"))
        .replace("2> tributary.log", &format!("2> {}/log", folder.path().display()));
    let name = format!("r{}", std::process::id());
    let output = Command::new("bash")
        .args(["-c", &(preamble + &script)])
        .current_dir(operations::folder().join(".."))
        .env("TRIBUTARY__KAFKA__BROKERS", env("TRIBUTARY_TEST_KAFKA"))
        .env("TRIBUTARY__KAFKA__PREFIX", format!("{name}."))
        .env("TRIBUTARY__STORE__CQL__HOSTS", env("TRIBUTARY_TEST_CQL"))
        .env("TRIBUTARY__STORE__CQL__KEYSPACE", &name)
        .env("TRIBUTARY__CONTROL__LISTEN", format!("127.0.0.1:{control}"))
        .env("TRIBUTARY__INGEST__LISTEN", format!("127.0.0.1:{ingest}"))
        .env("TRIBUTARY__TELEMETRY__LISTEN", format!("127.0.0.1:{admin}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(2 * PATIENCE, output).await.expect("it takes too long").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{complaint}\n{log}");
    assert!(said.contains("hris_employees.created"), "{said}\n{complaint}\n{log}");
    assert!(said.contains("whsec_") && said.contains("all is well"), "{said}");
}
