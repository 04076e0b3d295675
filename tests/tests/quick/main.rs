//! The command line and the sandbox: no services are needed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod operations;

use std::process::Command;

use tributary_tests::binary;

fn said(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("TRIBUTARY_KEYS").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn bad_input_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let unknown = file("unknown.toml", "[unify]\ninstanse = 1\n");
    let bad_host = file("host.toml", "[store.cql]\nhosts = [\"127.0.0.1:1\"]\n");
    std::fs::create_dir(folder.path().join("broken")).unwrap();
    file("broken/connector.yaml", "name: broken\ntitle: [\n");
    let broken = folder.path().join("broken").display().to_string();
    std::fs::create_dir(folder.path().join("misspelt")).unwrap();
    let shipped = include_str!("../../../connectors/definitions/demo/legacy.yaml");
    file("misspelt/connector.yaml", &shipped.replace("work_email:", "work_mail:"));
    let misspelt = folder.path().join("misspelt").display().to_string();
    for (arguments, code, expected) in [
        (vec!["--config", &unknown, "run"], 2, "instanse"),
        (vec!["--config", "/nowhere.toml", "run"], 2, "/nowhere.toml"),
        (vec!["run"], 1, "tributary keys generate"),
        (vec!["run", "--stages", "unifi"], 2, "unify"),
        (vec!["--config", &bad_host, "schema", "apply"], 1, "store.cql.hosts"),
        (vec!["connectors", "check", &broken], 1, "connector.yaml"),
        (vec!["connectors", "check", &misspelt], 1, "did you mean `work_email`?"),
        (vec!["id", "nonsense"], 1, "base64url"),
        (vec!["events", "tail", "hris_people"], 2, "hris_people"),
    ] {
        let (status, text) = said(&arguments, &[]);
        assert_eq!(status, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    }
}

#[test]
fn the_compose_file_sets_what_the_stages_know() {
    let compose = include_str!("../../../ops/compose.yaml");
    let setting = |text: &str| {
        let (name, value) = text.split_once(": ").unwrap();
        let value = value.split(['\n', '}', ',']).next().unwrap().trim_matches(['"', ' ']);
        (format!("TRIBUTARY__{name}"), value.to_owned())
    };
    let settings: Vec<(String, String)> = compose.split("TRIBUTARY__").skip(1).map(setting).collect();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert!(settings.contains(&("TRIBUTARY__KAFKA__BROKERS", "kafka:9092")), "{settings:?}");
    // The settings are read before any command is.
    let (status, text) = said(&["keys", "generate"], &settings);
    assert_eq!(status, Some(0), "{settings:?}: {text}");
}

#[test]
fn small_commands_do_what_they_say() {
    assert_eq!(said(&["id", "dHIxIWlkOjQy"], &[]), (Some(0), "key        id\nremote id  42\n".into()));
    assert_eq!(said(&["id", "--encode", "42"], &[]), (Some(0), "dHIxIWlkOjQy\n".into()));
    let (status, text) = said(&["connectors", "list"], &[]);
    assert!(
        status == Some(0) && text.contains("tryton") && text.contains("hris_employees.created"),
        "{text}"
    );

    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    std::fs::write(&body, r#"{"test": 2432232314}"#).unwrap();
    let body = body.display().to_string();
    let verify = |id: &str| {
        let id = format!("webhook-id: {id}");
        let signature = "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let arguments = ["webhook", "verify", "--body", &body, "--secret", secret, "-H", &id];
        said(&[&arguments[..], &["-H", "webhook-timestamp: 1614265330", "-H", signature]].concat(), &[])
    };
    assert_eq!(verify("msg_p5jXN8AQM9LWM0D4loKWxJek").0, Some(0));
    let (status, text) = verify("msg_other");
    assert!(status == Some(1) && text.contains("NOT verified"), "{text}");
}

#[test]
fn the_sandbox_shows_created_updated_and_deleted_and_ends_well() {
    let (status, text) = said(&["sandbox", "--deliveries", "20"], &[]);
    assert_eq!(status, Some(0), "{text}");
    for event in
        ["hris_employees.created", "hris_employees.updated", "hris_employees.deleted", "account.created"]
    {
        let shown = text.lines().any(|line| line.contains(event) && line.ends_with("verified"));
        assert!(shown, "{event}: {text}");
    }
    // Two may arrive between two looks: at least so many.
    let verified = text.lines().find_map(|line| line.strip_suffix(" deliveries verified"));
    let verified: u64 = verified.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!(!text.contains("NOT verif") && verified >= 20, "{text}");

    // And it ends with success when it is interrupted.
    let mut sandbox =
        Command::new(binary()).arg("sandbox").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(sandbox.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with("verified")), "it ended before its first delivery");
    assert!(Command::new("kill").args(["-INT", &sandbox.id().to_string()]).status().unwrap().success());
    lines.for_each(drop);
    assert_eq!(sandbox.wait().unwrap().code(), Some(0));
}
