//! Kubernetes' own schemas and systemd judge what `ops/` gives them.

use std::{path::Path, process::Command};

use tributary_tests::{binary, env, operations};

#[test]
fn kubernetes_takes_the_manifests() {
    let validate = Path::new(&env("TRIBUTARY_TEST_PYTHON")).with_file_name("kubernetes-validate");
    let mut judged = 0;
    for (file, text) in operations::files("kubernetes", ".yaml").unwrap() {
        let path = operations::folder().join("kubernetes").join(&file);
        let output = Command::new(&validate).arg("--strict").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        // The operator's own kinds have no schema there.
        let others = text.matches("\napiVersion: monitoring.coreos.com/").count();
        let (passed, all) = (said.matches(" passed for resource ").count(), text.matches("\nkind: ").count());
        assert_eq!((passed + others, output.status.success() || others > 0), (all, true), "{file}: {said}");
        judged += passed;
    }
    assert!(judged > 15, "{judged}");
}

#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in ["tributary@.service", "tributary.target"]
        .map(|it| (it, operations::text(format!("systemd/{it}")).unwrap()))
    {
        let file = folder.path().join(file.replace('@', "@unify"));
        std::fs::write(&file, text.replace("/usr/local/bin/tributary", &binary())).unwrap();
        let output = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // It tells of the machine's other units too.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("tributary")).collect();
        assert!(output.status.success() && ours.is_empty(), "{}: {said}", file.display());
    }
}
